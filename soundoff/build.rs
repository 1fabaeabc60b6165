//! Packs the files of `web/` into the binary: each as it is in the repository, and compressed with gzip and with
//! Brotli, each at its strongest. A page of the app is therefore a file in `web/app` and nothing else. Cargo runs this
//! again when one of the files changes.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Error, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;

/// The sets of files, each the constant of `src/files.rs` and where its files are: folders, or single files.
const SETS: [(&str, &[&str]); 3] = [
    ("APP", &["app", "client/soundoff.js"]),
    ("CONSOLE", &["console", "app/pairing.js"]),
    ("OPS", &["ops", "app/pairing.js"]),
];

const BROTLI_STRONGEST: i32 = 11;

fn main() -> io::Result<()> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web").canonicalize()?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| Error::other("Cargo sets OUT_DIR"))?);
    let mut code = String::new();
    for (set, places) in SETS {
        let mut files = Vec::new();
        for place in places {
            println!("cargo::rerun-if-changed={}", web.join(place).display());
            for name in names(&web, place)? {
                files.push((served_at(&name), name));
            }
        }
        // By path, so that every build lists them in the same order.
        files.sort();
        let rows: io::Result<String> = files.iter().map(|(path, name)| row(&web, &out, path, name)).collect();
        let _ = writeln!(code, "pub(crate) static {set}: &[File] = &[{}];", rows?);
    }
    fs::write(out.join("files.rs"), code)
}

/// The files at a place, relative to `web`.
fn names(web: &Path, place: &str) -> io::Result<Vec<String>> {
    if web.join(place).is_file() {
        return Ok(vec![place.to_owned()]);
    }
    let name = |entry: io::Result<fs::DirEntry>| Ok(format!("{place}/{}", entry?.file_name().display()));
    fs::read_dir(web.join(place))?.map(name).collect()
}

/// The path of a file on the server. The app's page is at the root; its other paths are below `/app` and `/client`, two
/// prefixes that a balancer in front of several services can route by.
fn served_at(name: &str) -> String {
    match name {
        "app/index.html" => "/".to_owned(),
        _ => format!("/{}", name.strip_suffix("/index.html").unwrap_or(name)),
    }
}

/// A row of the table: the file's path, kind and three forms.
fn row(web: &Path, out: &Path, path: &str, name: &str) -> io::Result<String> {
    let kind = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "Page",
        Some("js") => "Script",
        Some("css") => "Style",
        Some("svg") => "Picture",
        _ => {
            return Err(Error::other(format!(
                "web/{name}: say in soundoff/build.rs what kind of file this is"
            )));
        }
    };
    let plain = fs::read(web.join(name))?;
    let packed = out.join(name.replace('/', "_"));
    let gzip = form(&packed.with_added_extension("gz"), &gzip(&plain)?)?;
    let brotli = form(&packed.with_added_extension("br"), &brotli(&plain)?)?;
    let plain = form(&packed, &plain)?;
    Ok(format!(
        "File {{ path: {path:?}, kind: Kind::{kind}, plain: {plain}, gzip: {gzip}, brotli: {brotli} }},\n"
    ))
}

/// One form of a file, with an entity tag of its own. The tag need not withstand forgery: all files are ours.
fn form(file: &Path, bytes: &[u8]) -> io::Result<String> {
    fs::write(file, bytes)?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    Ok(format!("Form {{ bytes: include_bytes!({:?}), tag: {tag:?} }}", file.display().to_string()))
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut packing = GzEncoder::new(Vec::new(), Compression::best());
    packing.write_all(plain)?;
    packing.finish()
}

fn brotli(mut plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    let params = BrotliEncoderParams { quality: BROTLI_STRONGEST, ..BrotliEncoderParams::default() };
    brotli::BrotliCompress(&mut plain, &mut packed, &params)?;
    Ok(packed)
}
