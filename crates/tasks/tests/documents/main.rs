//! Documents as they are read: by a child process, whatever the file does to it. Elsewhere than on these systems a
//! child keeps its rights, and reading is refused.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "../../src/documents/samples.rs"]
mod samples;

use samples::{Random, archive, docx, pdf, pdf_of_objects, row, xlsx};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tasks::documents::{Document, Reader};
use tasks::{Inputs, TaskError};

const PAGE: &str = "BT /F1 12 Tf 72 700 Td (One) Tj ET";

fn reader() -> Reader {
    Reader::new(env!("CARGO_BIN_EXE_read-document"))
}

/// What a reader makes of a file of that name and content; errors without the folder's name.
fn read_with(reader: &Reader, name: &str, bytes: impl AsRef<[u8]>) -> Result<Document, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    reader.read(&path).map_err(|error| {
        assert!(matches!(error, TaskError::Data(_)), "{error:?}");
        let text = error.to_string();
        text.strip_prefix(&format!("{}/", folder.path().display())).expect("an error names the file").to_owned()
    })
}

fn read(name: &str, bytes: impl AsRef<[u8]>) -> Result<Document, String> {
    read_with(&reader(), name, bytes)
}

/// The same program under a name that makes it misbehave. A link, because a program that was just written may be busy.
fn called(folder: &Path, name: &str) -> Reader {
    let path = folder.join(name);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_read-document"), &path).unwrap();
    Reader::new(path)
}

#[test]
fn every_format_is_read() {
    let check = |name: &str, bytes: &[u8], format: &str, text: &str| {
        let document = read(name, bytes).unwrap();
        assert_eq!((document.format, document.text.as_str()), (format, text), "{name}");
        document
    };
    check("a.txt", "Grüße".as_bytes(), "txt", "Grüße");
    check("a.md", b"# Title", "md", "# Title");
    check("a.csv", b"a,b\n", "csv", "a,b\n");
    check("a.jsonl", b"{}\n", "json", "{}\n");
    check("a.html", b"<p>One<p>Two", "html", "One\n\nTwo");
    check("a.docx", &docx("<w:p><w:r><w:t>Body</w:t></w:r></w:p>"), "docx", "Header\n\nBody");
    check("a.xlsx", &xlsx(&[("S", &row(1, &["a", "b"]))]), "xlsx", "# S\na\tb\n");
    let document = check("a.pdf", &pdf(&[PAGE, PAGE]), "pdf", "One\nOne\n");
    assert_eq!(document.pages, [0, 4]);
    check("no ending", &pdf(&[PAGE]), "pdf", "One\n");
}

#[test]
fn what_is_guessed_or_missing_is_told() {
    let document = read("a.txt", b"Die Stra\xdfe f\xfchrt \xfcber die gr\xfcne Br\xfccke.").unwrap();
    assert_eq!(document.warnings, ["not UTF-8: read as windows-1252, which is a guess"]);
    let document = read("a.pdf", pdf(&[PAGE, "0 0 9 9 re f"])).unwrap();
    assert_eq!(document.warnings, ["1 of 2 pages have no text, scanned or empty: 2"]);
}

#[test]
fn what_is_no_document_is_an_error_that_names_the_file() {
    let refused = |name: &str, bytes: &[u8]| read(name, bytes).unwrap_err();
    assert_eq!(refused("a.txt", b""), "a.txt: expected a document, got an empty file");
    assert_eq!(refused("a.txt", b"a\0"), "a.txt: expected text, got bytes with zeros in them");
    assert_eq!(
        refused("a.exe", b"MZ"),
        "a.exe: expected a document, one of txt, md, csv, json, html, docx, xlsx, pdf; got none of them\n\
         hint: a format is known by the ending of the file's name"
    );
    assert_eq!(
        refused("a.pdf", &pdf(&["0 0 9 9 re f"; 3])),
        "a.pdf: 3 of 3 pages have no text: a scan?\nhint: run OCR first, such as ocrmypdf"
    );
    let folder = tempfile::tempdir().unwrap();
    let error = reader().read(folder.path()).unwrap_err().to_string();
    assert_eq!(error, format!("{}: expected a file, got a folder or a device", folder.path().display()));
    let error = reader().read(Path::new("/no/such.pdf")).unwrap_err().to_string();
    assert!(error.starts_with("/no/such.pdf: cannot be read: No such file"), "{error}");
}

#[test]
fn bombs_are_refused_before_they_fill_the_memory() {
    // Six hundred megabytes of one letter, as one of the files of a document.
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("word/document.xml", zip::write::SimpleFileOptions::default()).unwrap();
    let piece = vec![b'a'; 1 << 20];
    for _ in 0..600 {
        writer.write_all(&piece).unwrap();
    }
    let bomb = writer.finish().unwrap().into_inner();
    assert!(bomb.len() < 2 << 20);
    for (name, most) in [("a.docx", 134_217_728), ("a.xlsx", 536_870_912)] {
        let bound = format!("expected an archive that unpacks to at most {most} bytes, got more in word/document.xml");
        assert_eq!(read(name, &bomb).unwrap_err(), format!("{name}: {bound}"));
    }
    let deep = docx(&"<w:p>".repeat(500_000));
    assert_eq!(
        read("a.docx", deep).unwrap_err(),
        "a.docx: word/document.xml: expected elements nested at most 2000 deep, got more"
    );
    // Each form draws the next one ten times.
    let form = |next: usize| {
        let draw = "/X Do ".repeat(10);
        format!(
            "<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X {next} 0 R >> /Font << /F1 3 0 R >> >> /Length {} >>\nstream\n{draw}\nendstream",
            draw.len()
        )
    };
    let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents 5 0 R /Resources << /XObject << /X 5 0 R >> >> >>";
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [4 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        page.to_owned(),
    ];
    objects.extend((0..12).map(|index| form(6 + index)));
    let mut short = reader();
    short.limits.time = Duration::from_secs(2);
    let bytes = pdf_of_objects(&objects.iter().map(String::as_str).collect::<Vec<_>>());
    let began = Instant::now();
    let error = read_with(&short, "a.pdf", bytes).unwrap_err();
    assert_eq!(error, "a.pdf: its reading takes more than 2 seconds\nhint: give it more time, or convert it to text");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_document_that_takes_too_much_memory_fails_alone() {
    let mut small = reader();
    small.limits.memory_bytes = 96 << 20;
    let large = "<p>text".repeat(8 << 20);
    let error = read_with(&small, "a.html", large).unwrap_err();
    assert_eq!(
        error,
        "a.html: its reading takes more than 96 MiB of memory\nhint: give it more memory, or convert it to text"
    );
    assert_eq!(read_with(&small, "a.html", "<p>text").unwrap().text, "text");
}

#[test]
fn files_and_answers_over_their_limits_are_refused() {
    let mut small = reader();
    small.limits.input_bytes = 1000;
    let error = read_with(&small, "a.html", "x".repeat(1001)).unwrap_err();
    assert_eq!(error, "a.html: expected a file of at most 1000 bytes, got 1001");
    small.limits.output_bytes = 100;
    let error = read_with(&small, "a.html", "x".repeat(900)).unwrap_err();
    assert_eq!(error, "a.html: expected an answer of at most 100 bytes from its reader, got more");
}

#[test]
fn however_a_reader_ends_the_document_fails_alone_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let ended = |name: &str| read_with(&called(folder.path(), name), "a.html", "<p>text").unwrap_err();
    assert_eq!(ended("ends-with-3"), "a.html: its reader ended with exit code 3 and no answer");
    assert_eq!(ended("aborts"), "a.html: its reader was ended by signal 6");
    assert_eq!(ended("nests"), "a.html: it is nested deeper than its reader can follow");
    assert!(ended("babbles").starts_with("a.html: expected an answer from its reader, got nonsense: "));
    assert_eq!(ended("lies"), "a.html: expected pages within the text, got others");
    let stumbled = "a.html: expected a sound html file, got one that its reader stumbled over (at a.rs:1)";
    assert_eq!(ended("stumbles"), stumbled);
    assert!(ended("is-free").starts_with("a.html: expected a kernel\nhint: "));
    let mut slow = called(folder.path(), "sleeps");
    slow.limits.time = Duration::from_millis(300);
    let error = read_with(&slow, "a.html", "<p>text").unwrap_err();
    assert_eq!(
        error,
        "a.html: its reading takes more than 0.3 seconds\nhint: give it more time, or convert it to text"
    );
    let missing = Reader::new(PathBuf::from("/no/such/program"));
    let error = read_with(&missing, "a.html", "<p>text").unwrap_err();
    assert!(error.starts_with("a.html: cannot be read: /no/such/program does not start: "), "{error}");
}

#[test]
fn damaged_files_of_every_format_end_in_a_text_or_an_error() {
    let sheet = (1..5).map(|number| row(number, &["one", "two"])).collect::<String>();
    let samples: [(&str, Vec<u8>); 5] = [
        ("a.html", b"<!doctype html><table><tr><td>a&amp;<td>b</table><pre>x\n y</pre><div hidden>z</div>".to_vec()),
        ("a.docx", docx("<w:p><w:r><w:t>One</w:t></w:r></w:p><w:tbl><w:tr><w:tc><w:p/></w:tc></w:tr></w:tbl>")),
        ("a.xlsx", xlsx(&[("S", &sheet)])),
        ("a.pdf", pdf(&[PAGE, PAGE])),
        ("b.docx", archive(&[("word/document.xml", b"<a><t>x</t></a>")])),
    ];
    let mut random = Random(3);
    let mut outcomes = [0, 0];
    for (name, bytes) in &samples {
        for _ in 0..25 {
            match read(name, random.damage(bytes)) {
                Ok(_) => outcomes[0] += 1,
                // `read` has asserted that it names the file.
                Err(_) => outcomes[1] += 1,
            }
        }
    }
    assert!(outcomes.iter().all(|&count| count > 10), "{outcomes:?}");
}

#[test]
fn a_folder_of_documents_is_a_stream_of_inputs_with_pages() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.pdf"), pdf(&[PAGE, PAGE])).unwrap();
    std::fs::write(folder.path().join("b.pdf"), "%PDF-1.4 and no more").unwrap();
    let inputs = Inputs::open(&[folder.path().to_path_buf()], reader()).unwrap();
    let items: Vec<_> = inputs.collect();
    assert_eq!(items[0].input.as_ref().unwrap().page_of(5), Some(2));
    let error = items[1].input.as_ref().unwrap_err().to_string();
    assert!(error.ends_with("b.pdf: expected a PDF document, got none, or one too damaged to be read"), "{error}");
    assert_eq!(items.len(), 2);
}

#[test]
fn a_reader_of_documents_has_no_files_no_network_and_no_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let probe = called(folder.path(), "probes").program;
    let output = std::process::Command::new(probe).output().unwrap();
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(found, "file denied, network denied, program denied, thread denied\n");
}
