; Jumps, calls and exit (RFC 9669 section 4.3). Distances are in slots from the next one.
goto pc+0                                       ; v1 05 00 00 00 00 00 00 00
goto pc+3                                       ; v1 05 00 03 00 00 00 00 00
goto pc-1                                       ; v1 05 00 ff ff 00 00 00 00
gotol pc+3                                      ; v4 06 00 00 00 03 00 00 00
gotol pc-2                                      ; v4 06 00 00 00 fe ff ff ff
may_goto pc+3                                   ; v4 e5 00 03 00 00 00 00 00
exit                                            ; v1 95 00 00 00 00 00 00 00
if r1 == r2 goto pc+3                           ; v1 1d 21 03 00 00 00 00 00
if r6 == 0x5 goto pc+1                          ; v1 15 06 01 00 05 00 00 00
if w1 == w2 goto pc+3                           ; v3 1e 21 03 00 00 00 00 00
if w6 == 0x5 goto pc+1                          ; v3 16 06 01 00 05 00 00 00
if r1 > r2 goto pc+3                            ; v1 2d 21 03 00 00 00 00 00
if r6 > 0x5 goto pc+1                           ; v1 25 06 01 00 05 00 00 00
if w1 > w2 goto pc+3                            ; v3 2e 21 03 00 00 00 00 00
if w6 > 0x5 goto pc+1                           ; v3 26 06 01 00 05 00 00 00
if r1 >= r2 goto pc+3                           ; v1 3d 21 03 00 00 00 00 00
if r6 >= 0x5 goto pc+1                          ; v1 35 06 01 00 05 00 00 00
if w1 >= w2 goto pc+3                           ; v3 3e 21 03 00 00 00 00 00
if w6 >= 0x5 goto pc+1                          ; v3 36 06 01 00 05 00 00 00
if r1 & r2 goto pc+3                            ; v1 4d 21 03 00 00 00 00 00
if r6 & 0x5 goto pc+1                           ; v1 45 06 01 00 05 00 00 00
if w1 & w2 goto pc+3                            ; v3 4e 21 03 00 00 00 00 00
if w6 & 0x5 goto pc+1                           ; v3 46 06 01 00 05 00 00 00
if r1 != r2 goto pc+3                           ; v1 5d 21 03 00 00 00 00 00
if r6 != 0x5 goto pc+1                          ; v1 55 06 01 00 05 00 00 00
if w1 != w2 goto pc+3                           ; v3 5e 21 03 00 00 00 00 00
if w6 != 0x5 goto pc+1                          ; v3 56 06 01 00 05 00 00 00
if r1 s> r2 goto pc+3                           ; v1 6d 21 03 00 00 00 00 00
if r6 s> 0x5 goto pc+1                          ; v1 65 06 01 00 05 00 00 00
if w1 s> w2 goto pc+3                           ; v3 6e 21 03 00 00 00 00 00
if w6 s> 0x5 goto pc+1                          ; v3 66 06 01 00 05 00 00 00
if r1 s>= r2 goto pc+3                          ; v1 7d 21 03 00 00 00 00 00
if r6 s>= 0x5 goto pc+1                         ; v1 75 06 01 00 05 00 00 00
if w1 s>= w2 goto pc+3                          ; v3 7e 21 03 00 00 00 00 00
if w6 s>= 0x5 goto pc+1                         ; v3 76 06 01 00 05 00 00 00
if r1 < r2 goto pc+3                            ; v2 ad 21 03 00 00 00 00 00
if r6 < 0x5 goto pc+1                           ; v2 a5 06 01 00 05 00 00 00
if w1 < w2 goto pc+3                            ; v3 ae 21 03 00 00 00 00 00
if w6 < 0x5 goto pc+1                           ; v3 a6 06 01 00 05 00 00 00
if r1 <= r2 goto pc+3                           ; v2 bd 21 03 00 00 00 00 00
if r6 <= 0x5 goto pc+1                          ; v2 b5 06 01 00 05 00 00 00
if w1 <= w2 goto pc+3                           ; v3 be 21 03 00 00 00 00 00
if w6 <= 0x5 goto pc+1                          ; v3 b6 06 01 00 05 00 00 00
if r1 s< r2 goto pc+3                           ; v2 cd 21 03 00 00 00 00 00
if r6 s< 0x5 goto pc+1                          ; v2 c5 06 01 00 05 00 00 00
if w1 s< w2 goto pc+3                           ; v3 ce 21 03 00 00 00 00 00
if w6 s< 0x5 goto pc+1                          ; v3 c6 06 01 00 05 00 00 00
if r1 s<= r2 goto pc+3                          ; v2 dd 21 03 00 00 00 00 00
if r6 s<= 0x5 goto pc+1                         ; v2 d5 06 01 00 05 00 00 00
if w1 s<= w2 goto pc+3                          ; v3 de 21 03 00 00 00 00 00
if w6 s<= 0x5 goto pc+1                         ; v3 d6 06 01 00 05 00 00 00
if r1 > 0xffffffff goto pc+3                    ; v1 25 01 03 00 ff ff ff ff
if w1 s< 0x80000000 goto pc-2                   ; v3 c6 01 fe ff 00 00 00 80
call unknown#1                                  ; v1 85 00 00 00 01 00 00 00
call unknown#8                                  ; v1 85 00 00 00 08 00 00 00
call pc+1                                       ; v1 85 10 00 00 01 00 00 00
call pc+3                                       ; v1 85 10 00 00 03 00 00 00
call kernel-function#1234                       ; v1 85 20 00 00 d2 04 00 00
call kernel-function#77[btf:2]                  ; v1 85 20 02 00 4d 00 00 00
