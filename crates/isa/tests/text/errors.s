; What the assembler refuses, and what it says.
frobnicate                                      ; `frobnicate` is not an instruction
r11 = 1                                         ; `r11 = 1` is not an instruction
r01 = 1                                         ; `r01 = 1` is not an instruction
r1                                              ; expected an operator at the end of the line
r1 =                                            ; expected a value at the end of the line
r1 = w2                                         ; both registers must have the same width
w1 = r2                                         ; both registers must have the same width
r1 += w2                                        ; both registers must have the same width
r1 = 4294967296                                 ; 4294967296 does not fit into 32 bits; write `4294967296 ll`
w1 = 0x100000000                                ; 4294967296 does not fit into 32 bits
r1 = 99999999999999999999999                    ; expected a value before `99999999999999999999999`
r1 += 5 6                                       ; unexpected `6`
r1 = (s32)                                      ; expected one of r0-r10 at the end of the line
w1 = (s32)w2                                    ; a register is extended from s8, s16, or s32 (to 64 bits)
r1 = (u8)r2                                     ; a register is extended from s8, s16, or s32 (to 64 bits)
r1 = -r2                                        ; this instruction has one register as operand and result
r1 = be16 r2                                    ; this instruction has one register as operand and result
r1 = be24 r1                                    ; expected a value before `be24 r1`
r1 = *(s64 *)(r2 +0)                            ; expected a type like u32 or s8 before `s64 *)(r2 +0)`
r1 = *(u32 *)(w2 +0)                            ; expected one of r0-r10 before `w2 +0)`
r1 = *(u32 *)(r2 +32768)                        ; `+32768)` is out of range for an offset
r1 = *(u32)(r2 +0)                              ; expected `*` before `)(r2 +0)`
*(s32 *)(r1 +0) = r2                            ; a signed type is for loads only
lock *(u16 *)(r1 +0) += r2                      ; atomic operations are on u32 and u64
lock *(u32 *)(r1 +0) -= r2                      ; the atomic operators are += |= &= ^=
r2 = atomic_fetch_add((u64 *)(r1 +0), r2)       ; `atomic_` is for u32, `atomic64_` for u64
r2 = atomic_fetch_sub((u32 *)(r1 +0), r2)       ; there is no such atomic operation
r3 = atomic_fetch_add((u32 *)(r1 +0), r2)       ; this instruction has one register as operand and result
r1 = atomic_cmpxchg((u32 *)(r1 +0), r0, r2)     ; cmpxchg gives its result in r0
r1 = *(u32 *)skb[0]                             ; packet loads are from u8, u16 or u32 to r0
r0 = *(u64 *)skb[0]                             ; packet loads are from u8, u16 or u32 to r0
r1 = addr_space_cast(r2, 1, 1)                  ; casts are between the address spaces 0 and 1
r1 = map[3]                                     ; expected `fd:` before `3]`
goto                                            ; expected a label or a distance at the end of the line
goto 5                                          ; expected a label or a distance before `5`
goto pc+32768                                   ; a distance of 32768 does not fit
goto nowhere                                    ; there is no label `nowhere`
if r1 == 5                                      ; expected `goto` at the end of the line
if r1 = 5 goto pc+1                             ; expected a comparison before `= 5 goto pc+1`
if r1 == w2 goto pc+1                           ; both registers must have the same width
call                                            ; expected a label or a distance at the end of the line
