//! Names and functions of real files: this test's own binary, and the machine's C library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bombus_kernel::catalog::{Binaries, StaticProbe, Symbol};
use bombus_symbols::Files;
use libtest_mimic::{Arguments, Failed, Trial};

/// A test: what it is called and what it does.
type Test = (&'static str, fn() -> Result<(), Failed>);

fn main() {
    let arguments = Arguments::from_args();
    let tests: [Test; 12] = [
        ("own_function_is_where_it_runs", own_function_is_where_it_runs),
        ("functions_are_sorted_and_unique", functions_are_sorted_and_unique),
        ("library_functions_as_readelf_has_them", library_functions_as_readelf_has_them),
        ("names", names),
        ("names_for_a_process", names_for_a_process),
        ("not_programs", not_programs),
        ("broken_programs", broken_programs),
        ("code_is_where_its_segment_says", code_is_where_its_segment_says),
        ("code_of_a_program_as_its_functions_have_it", code_of_a_program_as_its_functions_have_it),
        ("static_probes_as_readelf_has_them", static_probes_as_readelf_has_them),
        ("static_probes_of_a_program_that_was_moved", static_probes_of_a_program_that_was_moved),
        ("static_probes_of_broken_programs", static_probes_of_broken_programs),
    ];
    let trials = tests.into_iter().map(|(name, test)| Trial::test(name, test));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn ensure(holds: bool, words: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(words().into()) }
}

#[inline(never)]
extern "C" fn known_to_this_test(number: u64) -> u64 {
    std::hint::black_box(number) + 1
}

fn own_function_is_where_it_runs() -> Result<(), Failed> {
    let address = known_to_this_test as extern "C" fn(u64) -> u64 as usize as u64;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
    let offset = maps.lines().find_map(|line| {
        let mut parts = line.split_whitespace();
        let (start, end) = parts.next()?.split_once('-')?;
        let offset = hex(parts.nth(1)?);
        (hex(start)..hex(end)).contains(&address).then(|| address - hex(start) + offset)
    });
    let functions = Files::new().functions(&std::env::current_exe()?)?;
    let found = functions.iter().find(|symbol| symbol.name.contains("known_to_this_test"));
    let found = found.ok_or("this test's function is not listed")?;
    ensure(Some(found.offset) == offset, || format!("{found:?}, but it is at {offset:x?}"))?;
    ensure(found.size > 0, || "it has no size".into())
}

/// The C library; a machine where everything is static has none.
fn libc() -> Option<PathBuf> {
    let path = Files::new().resolve("libc", None);
    if path.is_none() {
        println!("skipped: there is no C library in a file of its own");
    }
    path
}

fn functions_are_sorted_and_unique() -> Result<(), Failed> {
    let files = Files::new();
    for path in [Some(std::env::current_exe()?), libc()].into_iter().flatten() {
        let functions = files.functions(&path)?;
        let increases = functions.windows(2).all(|pair| pair[0].name < pair[1].name);
        ensure(increases && !functions.is_empty(), || format!("{}", path.display()))?;
        ensure(files.functions(&path)? == functions, || "not the same again".into())?;
    }
    Ok(())
}

/// Every default version in `.dynsym`, by GNU readelf.
fn library_functions_as_readelf_has_them() -> Result<(), Failed> {
    let Some(path) = libc() else { return Ok(()) };
    let readelf = |options: &[&str]| {
        Command::new("readelf").args(options).arg(&path).env("LC_ALL", "C").output()
    };
    let (Ok(symbols), Ok(segments)) = (readelf(&["-W", "--dyn-syms"]), readelf(&["-W", "-l"]))
    else {
        println!("skipped: there is no readelf");
        return Ok(());
    };
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let segments = String::from_utf8(segments.stdout)?;
    let segments: Vec<[u64; 3]> = segments
        .lines()
        .filter_map(|line| {
            let mut parts = line.split_whitespace();
            (parts.next()? == "LOAD").then_some(())?;
            let (offset, address) = (hex(parts.next()?)?, hex(parts.next()?)?);
            Some([address, offset, hex(parts.nth(1)?)?])
        })
        .collect();
    let functions = Files::new().functions(&path)?;
    let functions: BTreeMap<&str, &Symbol> =
        functions.iter().map(|symbol| (symbol.name.as_str(), symbol)).collect();
    let mut checked = 0;
    for line in String::from_utf8(symbols.stdout)?.lines() {
        let parts: Vec<&str> = line.split_whitespace().collect();
        let [_, address, size, "FUNC" | "IFUNC", "GLOBAL" | "WEAK", _, section, name, ..] =
            parts[..]
        else {
            continue;
        };
        let Some((name, "")) = name.split_once("@@").map(|(name, _)| (name, "")) else { continue };
        if section == "UND" {
            continue;
        }
        let address = hex(address).ok_or("no address")?;
        let segment =
            segments.iter().find(|[start, _, size]| (*start..start + size).contains(&address));
        let [start, offset, _] = segment.ok_or("not in a segment")?;
        let found = functions.get(name).ok_or_else(|| format!("{name} is missing"))?;
        ensure(found.offset == address - start + offset, || format!("{line}: {found:x?}"))?;
        ensure(size.parse() == Ok(found.size), || format!("{line}: {found:x?}"))?;
        checked += 1;
    }
    ensure(checked > 100 || !path.ends_with("libc.so.6"), || format!("only {checked} functions"))
}

fn names() -> Result<(), Failed> {
    let files = Files::new();
    let own = std::env::current_exe()?;
    let resolve = |name: &str| files.resolve(name, None);
    ensure(resolve(&own.to_string_lossy()) == Some(own.clone()), || "own path".into())?;
    let shell = resolve("sh").ok_or("no sh in PATH")?;
    ensure(shell.is_absolute() && shell.ends_with("sh"), || format!("sh is {}", shell.display()))?;
    for nothing in ["no-such-program", "libnosuchlibrary", "/no/such/file", "", "/", "/usr/bin"] {
        ensure(resolve(nothing).is_none(), || format!("{nothing:?} is {:?}", resolve(nothing)))?;
    }
    let Some(libc) = libc() else { return Ok(()) };
    let name = libc.file_name().and_then(|name| name.to_str()).ok_or("no name")?;
    ensure(name.starts_with("libc.so") && libc.is_absolute(), || format!("libc is {name}"))?;
    ensure(resolve(name).as_ref() == Some(&libc), || format!("{name} is {:?}", resolve(name)))
}

fn names_for_a_process() -> Result<(), Failed> {
    let files = Files::new();
    let pid = Some(std::process::id());
    let own = std::env::current_exe()?;
    ensure(files.resolve("", pid) == Some(own), || "the program itself".into())?;
    let mapped = std::fs::read_to_string("/proc/self/maps")?;
    let Some(libc) = files.resolve("libc", pid) else {
        return ensure(libc().is_none(), || "a libc for us, and none for our process".into());
    };
    let loaded = mapped.contains("/libc.so") || mapped.contains("/libc-");
    ensure(!loaded || mapped.contains(&*libc.to_string_lossy()), || {
        format!("{} is not the one that is loaded", libc.display())
    })
}

fn not_programs() -> Result<(), Failed> {
    let files = Files::new();
    let missing = files.functions(Path::new("/no/such/file")).unwrap_err();
    ensure(missing.starts_with("/no/such/file: No such file"), || missing.clone())?;
    let text = files.functions(Path::new("/proc/self/maps")).unwrap_err();
    ensure(text == "/proc/self/maps: not an ELF file", || text.clone())
}

/// A program that is cut or damaged gives an error or fewer functions, never a panic.
fn broken_programs() -> Result<(), Failed> {
    let whole = std::fs::read(libc().map_or_else(std::env::current_exe, Ok)?)?;
    let path = std::env::temp_dir().join(format!("bombus-symbols-{}", std::process::id()));
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for round in 0..60 {
        let mut bytes = whole.clone();
        if round % 2 == 0 {
            bytes.truncate(random(whole.len()));
        }
        // In the headers, where it hurts.
        for _ in 0..20 {
            let at = random(bytes.len().clamp(1, 1024));
            if let Some(byte) = bytes.get_mut(at.max(16)) {
                *byte = random(256) as u8;
            }
        }
        std::fs::write(&path, &bytes)?;
        let _ = Files::new().functions(&path);
    }
    std::fs::remove_file(&path)?;
    Ok(())
}

/// A header and three segments: code that is not mapped at its offset, data, and code again.
fn code_is_where_its_segment_says() -> Result<(), Failed> {
    const LOAD: u32 = 1;
    let segments: [(u32, u64, u64, u64); 3] =
        [(5, 0x1123, 0x60_0123, 0x100), (6, 0x2000, 0x70_0000, 0x100), (5, 0x3000, 0x9000, 0x10)];
    // The 64-bit header and program header of the System V ABI, chapters 4 and 5.
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend_from_slice(&2u16.to_le_bytes());
    file.extend_from_slice(&62u16.to_le_bytes());
    file.extend_from_slice(&1u32.to_le_bytes());
    [0u64, 64, 0].iter().for_each(|word| file.extend_from_slice(&word.to_le_bytes()));
    file.extend_from_slice(&0u32.to_le_bytes());
    [64u16, 56, 3, 64, 0, 0].iter().for_each(|half| file.extend_from_slice(&half.to_le_bytes()));
    for (flags, offset, address, size) in segments {
        file.extend_from_slice(&LOAD.to_le_bytes());
        file.extend_from_slice(&u32::to_le_bytes(flags));
        let words = [offset, address, address, size, size, 1];
        words.iter().for_each(|word| file.extend_from_slice(&word.to_le_bytes()));
    }
    let path = std::env::temp_dir().join(format!("bombus-segments-{}", std::process::id()));
    std::fs::write(&path, file)?;
    let files = Files::new();
    let found: Vec<Option<u64>> =
        [0x60_0122, 0x60_0123, 0x60_0222, 0x60_0223, 0x70_0000, 0x9008, 0x1123, u64::MAX]
            .iter()
            .map(|&address| files.file_offset(&path, address))
            .collect();
    std::fs::remove_file(&path)?;
    let expected = [None, Some(0x1123), Some(0x1222), None, None, Some(0x3008), None, None];
    ensure(found == expected, || format!("{found:x?}"))?;
    ensure(files.file_offset(Path::new("/no/such/file"), 0x1000).is_none(), || "no file".into())
}

/// A program linked to an odd place: the addresses that `nm` gives lead to the offsets that the
/// symbols have.
fn code_of_a_program_as_its_functions_have_it() -> Result<(), Failed> {
    let directory = std::env::temp_dir().join(format!("bombus-linked-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let (source, program) = (directory.join("odd.c"), directory.join("odd"));
    std::fs::write(
        &source,
        "int probed(int a) { return a + 1; }\nvoid _start(void) { probed(1); }\n",
    )?;
    let linked = Command::new("cc")
        .args(["-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0x7654abc0", "-o"])
        .args([&program, &source])
        .output();
    let listed = Command::new("nm").arg(&program).output();
    let symbols = Files::new().functions(&program);
    let offset = |address| Files::new().file_offset(&program, address);
    let (Ok(linked), Ok(listed)) = (linked, listed) else {
        println!("skipped: there is no cc, or no nm");
        return Ok(());
    };
    ensure(linked.status.success(), || String::from_utf8_lossy(&linked.stderr).into_owned())?;
    let listed = String::from_utf8(listed.stdout)?;
    let line = listed.lines().find(|line| line.ends_with(" probed")).ok_or("nm has no probed")?;
    let address = u64::from_str_radix(line.split_whitespace().next().unwrap_or_default(), 16)?;
    let symbols = symbols?;
    let symbol = symbols.iter().find(|symbol| symbol.name == "probed").ok_or("no probed")?;
    let found = offset(address);
    std::fs::remove_dir_all(&directory)?;
    ensure(address >= 0x7654_abc0, || format!("linked to {address:x}"))?;
    ensure(found == Some(symbol.offset), || format!("{found:x?}, {symbol:x?}"))
}

/// A program with static probes, linked with these options, in a directory of its own; `None`
/// where there is no compiler.
fn with_static_probes(name: &str, options: &[&str]) -> Result<Option<PathBuf>, Failed> {
    let directory = std::env::temp_dir().join(format!("bombus-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/static_probes/probes.c");
    let program = directory.join("probes");
    let compiled =
        Command::new("cc").arg("-O1").args(options).arg(source).arg("-o").arg(&program).output();
    let Ok(compiled) = compiled else {
        println!("skipped: there is no cc");
        return Ok(None);
    };
    ensure(compiled.status.success(), || String::from_utf8_lossy(&compiled.stderr).into_owned())?;
    Ok(Some(program))
}

fn remove(program: &Path) -> Result<(), Failed> {
    Ok(program.parent().map_or(Ok(()), std::fs::remove_dir_all)?)
}

/// All static probes of the program above.
fn static_probes(program: &Path) -> Result<Vec<(String, StaticProbe)>, Failed> {
    let mut all = Vec::new();
    let names = ["demo:plain", "demo:watched", "demo:sizes", "demo:indexed", "other:watched"];
    for (provider, name) in names.iter().filter_map(|name| name.split_once(':')) {
        let found = Files::new().static_probes(program, provider, name)?;
        all.extend(found.into_iter().map(|probe| (format!("{provider}:{name}"), probe)));
    }
    Ok(all)
}

/// What `readelf --notes` says, one after the other.
fn static_probes_as_readelf_has_them() -> Result<(), Failed> {
    for (name, options) in [("pie", &["-pie", "-fPIE"][..]), ("fixed", &["-no-pie", "-fno-pie"])] {
        let Some(program) = with_static_probes(name, options)? else { return Ok(()) };
        let notes = Command::new("readelf").args(["-W", "-n"]).arg(&program).output();
        let Ok(notes) = notes else {
            println!("skipped: there is no readelf");
            return remove(&program);
        };
        let notes = String::from_utf8(notes.stdout)?;
        let after = |line: &str, key: &str| {
            let (_, value) = line.split_once(key)?;
            Some(value.split(',').next().unwrap_or_default().trim().to_owned())
        };
        let hex = |text: String| u64::from_str_radix(text.trim_start_matches("0x"), 16);
        let (mut provider, mut wanted) = (String::new(), Vec::new());
        let mut place = (0, 0);
        for line in notes.lines() {
            if let Some(text) = after(line, "Provider: ") {
                provider = text;
            } else if let Some(text) = after(line, "Name: ") {
                provider = format!("{provider}:{text}");
            } else if let Some(text) = after(line, "Location: ") {
                let semaphore = after(line, "Semaphore: ").ok_or("no semaphore")?;
                place = (hex(text)?, hex(semaphore)?);
            } else if let Some((_, arguments)) = line.split_once("Arguments:") {
                wanted.push((provider.clone(), place, arguments.trim().to_owned()));
            }
        }
        let found = static_probes(&program)?;
        let relocatable = name == "pie";
        let code = std::fs::read(&program)?;
        for (_, probe) in &found {
            let at = Files::new().file_offset(&program, probe.address);
            ensure(at == Some(probe.offset), || format!("{probe:x?}"))?;
            ensure(code.get(probe.offset as usize) == Some(&0x90), || "no nop".into())?;
            ensure(probe.relocatable == relocatable, || format!("{probe:?}"))?;
        }
        let has_semaphore: Vec<_> = found.iter().map(|(_, probe)| probe.semaphore != 0).collect();
        ensure(has_semaphore == [false, true, true, false, false, false], || {
            format!("{found:x?}")
        })?;
        let found: Vec<_> =
            found.into_iter().map(|(name, probe)| (name, probe.address, probe.arguments)).collect();
        let wanted: Vec<_> =
            wanted.into_iter().map(|(name, (address, _), text)| (name, address, text)).collect();
        ensure(found == wanted, || format!("{found:x?}\n{wanted:x?}"))?;
        remove(&program)?;
    }
    Ok(())
}

/// As `prelink` leaves it: the notes know old addresses, `.stapsdt.base` the new ones.
fn static_probes_of_a_program_that_was_moved() -> Result<(), Failed> {
    use object::{Object, ObjectSection};
    const MOVED: u64 = 0x0120_0000;
    let Some(program) = with_static_probes("moved", &["-pie", "-fPIE"])? else { return Ok(()) };
    let expected = static_probes(&program)?;
    let mut bytes = std::fs::read(&program)?;
    let file = object::File::parse(&*bytes)?;
    let section = file.section_by_name(".note.stapsdt").ok_or("no notes")?;
    let (mut at, size) = section.file_range().ok_or("no notes")?;
    let end = at + size;
    while at < end {
        // Three words of header, the owner (8 bytes), three addresses.
        let word = |at: u64| u32::from_le_bytes(bytes[at as usize..][..4].try_into().unwrap());
        let next = at + 20 + u64::from(word(at + 4)).next_multiple_of(4);
        for address in [at + 20, at + 28, at + 36] {
            let place: &mut [u8] = &mut bytes[address as usize..][..8];
            let old = u64::from_le_bytes((&*place).try_into()?);
            if old != 0 {
                place.copy_from_slice(&(old + MOVED).to_le_bytes());
            }
        }
        at = next;
    }
    std::fs::write(&program, bytes)?;
    let found = static_probes(&program)?;
    remove(&program)?;
    ensure(found == expected && found.len() == 6, || format!("{found:x?}\n{expected:x?}"))
}

/// Cut or damaged anywhere, they give an error or fewer probes, never a panic.
fn static_probes_of_broken_programs() -> Result<(), Failed> {
    let Some(program) = with_static_probes("broken", &[])? else { return Ok(()) };
    let whole = std::fs::read(&program)?;
    let missing = Files::new().static_probes(Path::new("/no/such/file"), "demo", "plain");
    ensure(missing.is_err(), || format!("{missing:?}"))?;
    let notes = whole.windows(7).position(|bytes| bytes == b"stapsdt").ok_or("no notes")?;
    for round in 0..200_usize {
        let mut bytes = whole.clone();
        match round % 3 {
            0 => bytes.truncate(whole.len() * round / 200),
            1 => bytes[notes - 12 + round] ^= 0xff,
            _ => bytes[16 + round / 3] = 0xff,
        }
        std::fs::write(&program, &bytes)?;
        let _ = static_probes(&program);
    }
    remove(&program)
}
