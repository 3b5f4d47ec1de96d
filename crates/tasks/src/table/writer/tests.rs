//! Tables written and read again, and writing that cannot end.

use super::*;
use serde_json::json;

/// A disk that is full after so many bytes.
struct FullDisk {
    left: usize,
}

impl Write for FullDisk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        let written = bytes.len().min(self.left);
        self.left -= written;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_is_full_in_the_middle_leaves_the_old_file_and_names_it() {
    for name in ["a.jsonl", "a.csv", "a.parquet"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, "old").unwrap();
        let mut writer = Writer::create(&path).unwrap();
        writer.disk = |_| Box::new(FullDisk { left: 20 });
        writer.write(json!({"text": "a row of more than twenty bytes"}).as_object().unwrap()).unwrap();
        let error = writer.finish().unwrap_err();
        assert!(matches!(error, TaskError::Storage(_)));
        let expected = format!("{}: cannot be written: no storage space", path.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(error.to_string().ends_with("hint: free space on its disk, or name a file on another one"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}

#[test]
fn a_file_that_is_not_finished_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, "old").unwrap();
    let mut writer = Writer::create(&path).unwrap();
    writer.write(&Map::new()).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_name_without_a_format_and_a_folder_that_is_not_there_are_refused() {
    let refused = |name: &str| Writer::create(Path::new(name)).unwrap_err().to_string();
    let expected = "expected a name for results that ends in .jsonl or .csv or .parquet";
    assert_eq!(refused("a.txt"), format!("a.txt: {expected}\nhint: the ending says the format"));
    assert_eq!(refused("a.xlsx"), format!("a.xlsx: {expected}\nhint: this format is read and not written"));
    let error = refused("/no/such/a.csv");
    assert!(
        error.starts_with("/no/such/a.csv: cannot be written: ") && error.ends_with("\nhint: make the folder first"),
        "{error}"
    );
}

#[test]
fn rows_without_fields_are_refused_where_the_format_has_no_place_for_them() {
    let folder = tempfile::tempdir().unwrap();
    for (name, works) in [("a.jsonl", true), ("a.csv", false), ("a.parquet", false)] {
        let mut writer = Writer::create(&folder.path().join(name)).unwrap();
        writer.write(&Map::new()).unwrap();
        assert_eq!(writer.finish().is_ok(), works, "{name}");
    }
}

#[test]
fn what_is_no_file_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::create_dir(&path).unwrap();
    let error = Writer::create(&path).unwrap_err().to_string();
    let reason = "expected the name of a file, or of none yet, got that of a folder or a device";
    assert_eq!(error, format!("{}: {reason}\nhint: name a file, whose place the results can take", path.display()));
}

#[cfg(unix)]
#[test]
fn a_link_stays_one_and_what_it_leads_to_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file.jsonl"), folder.path().join("link.jsonl"));
    std::fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let mut writer = Writer::create(&link).unwrap();
    writer.write(json!({"x": 0.30000000000000004}).as_object().unwrap()).unwrap();
    writer.finish().unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"x\":0.30000000000000004}\n");
}

#[cfg(unix)]
#[test]
fn a_file_that_is_replaced_keeps_its_rights() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let mut writer = Writer::create(&path).unwrap();
    writer.write(json!({"a": 1}).as_object().unwrap()).unwrap();
    writer.finish().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\n1\n");
}
