//! Embeds the files of the JavaScript client, where `make client` has put them.

use std::{env, fmt::Write as _, fs, path::Path};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo names the package's folder");
    let dist = Path::new(&root).join("client/dist");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=client");
    let mut entries: Vec<_> = fs::read_dir(&dist).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    let (mut files, mut hash) = (String::new(), 0xcbf2_9ce4_8422_2325_u64);
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).expect("the client's files have plain names");
        for byte in fs::read(&path).expect("a file that was just listed can be read") {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        writeln!(files, "    ({name:?}, include_bytes!({path:?}) as &[u8]),").expect("strings can be written to");
    }
    let code = format!("const FILES: &[(&str, &[u8])] = &[\n{files}];\nconst CONTENT_HASH: u64 = {hash};\n");
    let out = env::var("OUT_DIR").expect("cargo names the output folder");
    fs::write(Path::new(&out).join("client_files.rs"), code).expect("the output folder can be written to");
}
