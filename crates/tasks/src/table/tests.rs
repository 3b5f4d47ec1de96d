//! Tables of every format: what their rows are, and what is said of those that are none.

use super::*;
use crate::documents::samples::{Random, row, xlsx};
use serde_json::json;

fn file(name: &str, bytes: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Rows as JSON, errors as texts without the folder's name.
fn read(name: &str, bytes: impl AsRef<[u8]>) -> Result<Vec<Value>, String> {
    let (folder, path) = file(name, bytes);
    let plain = |error: TaskError| error.to_string().replace(&format!("{}/", folder.path().display()), "");
    let table = Table::open(&path).map_err(plain)?;
    let mut expected = 0;
    let rows = table.map(|row| match row {
        Ok(row) => {
            expected += 1;
            assert_eq!(row.number, expected);
            Value::Object(row.fields)
        }
        Err(error) => {
            expected += 1;
            Value::String(plain(error))
        }
    });
    Ok(rows.collect())
}

fn check(name: &str, bytes: impl AsRef<[u8]>, rows: &Value) {
    assert_eq!(&Value::Array(read(name, bytes).unwrap()), rows, "{name}");
}

fn check_refused(name: &str, bytes: impl AsRef<[u8]>, error: &str) {
    assert_eq!(read(name, bytes).unwrap_err(), error);
}

#[test]
fn fields_of_csv_may_hold_separators_quotes_and_line_ends() {
    let text = "\u{feff}id,text\r\n1,\"a, \"\"b\"\"\nc\"\r\n\r\n2,d\r\n";
    check("a.csv", text, &json!([{"id": "1", "text": "a, \"b\"\nc"}, {"id": "2", "text": "d"}]));
}

#[test]
fn the_separator_of_csv_is_found_out() {
    let rows = json!([{"a": "1", "b, c": "2, 3"}, {"a": "4", "b, c": ""}]);
    for separator in [";", "\t", "|"] {
        check("a.csv", format!("a{separator}b, c\n1{separator}2, 3\n4{separator}\n"), &rows);
    }
    check("a.tsv", "a\tb, c\n1\t2, 3\n4\t", &rows);
    check("a.csv", "text\none\ntwo; three\n", &json!([{"text": "one"}, {"text": "two; three"}]));
}

#[test]
fn a_row_with_another_number_of_fields_fails_alone() {
    let error = "a.csv: line 4: expected 2 fields, as the first line has, got 3\n\
                 hint: a field that holds ',' or a line end stands in quotes; parted by ','";
    check("a.csv", "a,b\n1,\"2\n3\"\n4,5,6\n7,8\n", &json!([{"a": "1", "b": "2\n3"}, error, {"a": "7", "b": "8"}]));
}

#[test]
fn a_quote_that_nobody_closes_is_told_with_its_line() {
    let error = "a.csv: line 3: expected a closing quote, got the end of the file\n\
                 hint: a quote within a quoted field is written twice";
    check("a.csv", "a,b\n1,2\n3,\"4\n5,6\n", &json!([{"a": "1", "b": "2"}, error]));
}

#[test]
fn a_row_longer_than_any_honest_one_ends_the_table() {
    let mut text = String::from("a,b\n1,\"");
    text.push_str(&"x\n".repeat(usize::try_from(LONGEST_ROW_BYTES).unwrap() / 2 + (1 << 20)));
    let error = read("a.csv", &text).unwrap_err();
    assert!(error.starts_with("a.csv: expected rows of at most 33554432 bytes, got a longer one\nhint: "), "{error}");
    let line = format!("{{\"a\": \"{}\"}}\n", "x".repeat(usize::try_from(LONGEST_ROW_BYTES).unwrap()));
    check_refused("a.jsonl", line, "a.jsonl: line 1: expected at most 33554432 bytes, got more");
}

#[test]
fn tables_without_sound_columns_or_rows_are_refused() {
    check_refused("a.csv", "", "a.csv: expected rows, got an empty file");
    check_refused("a.csv", "a,b\n", "a.csv: expected rows below the names of the columns, got none");
    check_refused(
        "a.csv",
        "a,b,a\n1,2,3\n",
        "a.csv: expected a name of its own for each column, got \"a\" twice\n\
         hint: rename one of them, or add a first row with the names of the columns if there is none",
    );
    check_refused(
        "a.csv",
        "a,,b\n1,2,3\n",
        "a.csv: expected a name for each column, got none for column 2\n\
         hint: the first row holds the names of the columns",
    );
    check_refused("a.jsonl", "\n \n", "a.jsonl: expected rows, got blank lines alone");
    check_refused("a.csv", b"a,b\n\0,1\n", "a.csv: expected text, got bytes with zeros in them");
    check_refused(
        "a.doc",
        "",
        "a.doc: expected a table, one of .csv, .tsv, .jsonl, .parquet, .xlsx\n\
         hint: a table is known by the ending of its name",
    );
    check_refused("a.parquet", "", "a.parquet: expected rows, got an empty file");
    let error = read("a.parquet", "no parquet file").unwrap_err();
    assert!(error.starts_with("a.parquet: expected a parquet file, got one with an error: "), "{error}");
    let error = Table::open(Path::new("/no/such.csv")).unwrap_err().to_string();
    assert!(error.starts_with("/no/such.csv: cannot be read: No such file"), "{error}");
}

#[test]
fn a_column_that_is_not_there_is_told_with_those_that_are() {
    let (_folder, path) = file("a.csv", "a,b\n1,2\n");
    let table = Table::open(&path).unwrap();
    table.require("b").unwrap();
    let error = table.require("txt").unwrap_err().to_string();
    assert!(error.ends_with(
        "a.csv: no column \"txt\"; the columns are a, b\n\
         hint: name one of them in the task or on the command line, or rename it in the file"
    ));
}

#[test]
fn a_table_in_an_old_encoding_is_read_and_told() {
    let (_folder, path) = file("a.csv", b"name;stadt\nJ\xfcrgen;K\xf6ln am Rhein\nS\xf6ren;M\xfcnchen\n");
    let mut table = Table::open(&path).unwrap();
    assert_eq!(table.warnings(), ["not UTF-8: read as windows-1252, which is a guess"]);
    assert_eq!(
        Value::Object(table.next().unwrap().unwrap().fields),
        json!({"name": "Jürgen", "stadt": "Köln am Rhein"})
    );
}

#[test]
fn jsonl_has_the_columns_of_all_rows_and_a_wrong_line_fails_alone() {
    let text = "{\"a\": 1, \"b\": [2]}\n\n[1]\n{\"a\": 3,\n{\"c\": null, \"a\": \"\"}";
    let array = "a.jsonl: line 3: expected a JSON object, got an array\n\
                 hint: each line is an object of its own, such as {\"text\": \"...\"}";
    let broken = "a.jsonl: line 4: expected a JSON object, got what is no valid JSON at column 8: EOF while parsing a value\n\
                  hint: each line is an object of its own, such as {\"text\": \"...\"}";
    check("a.jsonl", text, &json!([{"a": 1, "b": [2]}, array, broken, {"c": null, "a": ""}]));
    let (_folder, path) = file("a.jsonl", text);
    let table = Table::open(&path).unwrap();
    assert_eq!((table.columns(), table.row_count()), (&["a", "b", "c"].map(String::from)[..], Some(4)));
}

#[test]
fn a_line_nested_without_end_is_an_error_of_that_line() {
    let rows = read("a.jsonl", format!("{{\"a\": {}\n{{\"a\": 1}}\n", "[".repeat(100_000))).unwrap();
    assert!(rows[0].as_str().unwrap().starts_with("a.jsonl: line 1: "), "{}", rows[0]);
    assert_eq!(rows[1], json!({"a": 1}));
}

#[test]
fn a_workbook_has_the_rows_of_its_first_sheet_or_of_the_one_that_is_named() {
    let first = format!(
        "{}{}",
        row(2, &["text", "n"]),
        r#"<row r="5"><c r="A5" t="inlineStr"><is><t>one</t></is></c><c r="B5"><v>3</v></c></row>
           <row r="6"><c r="B6" s="1"><v>45000</v></c></row>"#
    );
    let book = xlsx(&[("First", &first), ("Second one", &(row(1, &["a"]) + &row(2, &["b"])))]);
    check("a.xlsx", &book, &json!([{"text": "one", "n": 3}, {"text": null, "n": "2023-03-15"}]));
    let (folder, path) = file("a.xlsx", &book);
    let mut second = Table::open(&folder.path().join("a.xlsx#Second one")).unwrap();
    assert_eq!((second.row_count(), second.path()), (Some(1), path.as_path()));
    assert_eq!(Value::Object(second.next().unwrap().unwrap().fields), json!({"a": "b"}));
    let error = Table::open(&folder.path().join("a.xlsx#Third")).unwrap_err().to_string();
    assert!(error.ends_with(
        "a.xlsx: no sheet \"Third\"; the sheets are First, Second one\n\
         hint: write the name of one of them behind the # of the file's name"
    ));
}

#[test]
fn a_workbook_with_cells_outside_its_columns_or_far_away_takes_no_memory_for_what_is_empty() {
    let far = row(1, &["a"]) + r#"<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>"#;
    let error = "a.xlsx: row 1048576: expected 1 columns, as have names, got a cell in column 16384";
    check("a.xlsx", xlsx(&[("S", &far)]), &json!([error]));
    check_refused("a.xlsx", xlsx(&[("S", "")]), "a.xlsx: sheet \"S\": expected rows, got an empty sheet");
    let error = read("a.xlsx", "no archive").unwrap_err();
    assert!(error.starts_with("a.xlsx: expected a zip archive, got none: "), "{error}");
}

#[test]
fn formulas_that_nobody_computed_are_told() {
    let rows = row(1, &["a", "b"]) + r#"<row r="2"><c r="A2"><f>1+1</f><v>2</v></c><c r="B2"><f>1+2</f></c></row>"#;
    let (_folder, path) = file("a.xlsx", xlsx(&[("S", &rows)]));
    let mut table = Table::open(&path).unwrap();
    assert_eq!(table.warnings(), ["sheet \"S\": 1 cells have formulas without a computed value and are read as empty"]);
    assert_eq!(Value::Object(table.next().unwrap().unwrap().fields), json!({"a": 2, "b": null}));
}

#[test]
fn types_of_parquet_become_what_json_has() {
    use ::parquet::data_type::{ByteArray, ByteArrayType, FloatType, Int32Type, Int64Type};
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;
    let message = "message rows {
        required int64 local (TIMESTAMP(NANOS, false));
        required int64 utc (TIMESTAMP(MICROS, true));
        required int32 day (DATE);
        required int32 price (DECIMAL(5, 2));
        required float x;
        required binary raw;
        required group tags (LIST) { repeated group list { required int64 element; } }
    }";
    let schema = std::sync::Arc::new(parse_message_type(message).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    macro_rules! column {
        ($kind:ty, $values:expr, $definition:expr, $repetition:expr) => {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<$kind>().write_batch(&$values, $definition, $repetition).unwrap();
            column.close().unwrap();
        };
    }
    column!(Int64Type, [1_700_000_000_123_456_789, -1], None, None);
    column!(Int64Type, [0, 1], None, None);
    column!(Int32Type, [0, 19_000], None, None);
    column!(Int32Type, [12_345, -5], None, None);
    column!(FloatType, [0.1, f32::INFINITY], None, None);
    column!(ByteArrayType, [ByteArray::from("ü"), ByteArray::from(vec![0xff, 0])], None, None);
    column!(Int64Type, [1, 2], Some(&[1, 1, 0]), Some(&[0, 1, 0]));
    group.close().unwrap();
    let bytes = writer.into_inner().unwrap();
    let (_folder, path) = file("a.parquet", &bytes);
    let warning = "column \"raw\" holds bytes: they are given as text where they are UTF-8, else in base64";
    assert_eq!(Table::open(&path).unwrap().warnings(), [warning]);
    check(
        "a.parquet",
        &bytes,
        &json!([
            {"local": "2023-11-14 22:13:20.123456789", "utc": "1970-01-01 00:00:00.000000 +00:00", "day": "1970-01-01",
             "price": "123.45", "x": 0.1, "raw": "ü", "tags": [1, 2]},
            {"local": "1969-12-31 23:59:59.999999999", "utc": "1970-01-01 00:00:00.000001 +00:00", "day": "2022-01-08",
             "price": "-0.05", "x": "inf", "raw": "/wA=", "tags": []},
        ]),
    );
}

#[test]
fn what_is_written_is_read_again() {
    let rows = json!([
        {"text": "a, \"b\"\nc", "n": 1, "x": 0.5, "ok": true, "tags": ["p", {"q": null}]},
        {"late": "ü", "n": -2, "x": 3, "ok": null, "mixed": 18446744073709551615_u64},
    ]);
    let write = |name: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut writer = Writer::create(&path).unwrap();
        for row in rows.as_array().unwrap() {
            writer.write(row.as_object().unwrap()).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::fs::read(&path).unwrap()
    };
    check("a.jsonl", write("a.jsonl"), &rows);
    let tags = r#"["p",{"q":null}]"#;
    check(
        "a.csv",
        write("a.csv"),
        &json!([
            {"text": "a, \"b\"\nc", "n": "1", "x": "0.5", "ok": "true", "tags": tags, "late": "", "mixed": ""},
            {"text": "", "n": "-2", "x": "3", "ok": "", "tags": "", "late": "ü", "mixed": "18446744073709551615"},
        ]),
    );
    check(
        "a.parquet",
        write("a.parquet"),
        &json!([
            {"text": "a, \"b\"\nc", "n": 1, "x": 0.5, "ok": true, "tags": tags, "late": null, "mixed": null},
            {"text": null, "n": -2, "x": 3.0, "ok": null, "tags": null, "late": "ü", "mixed": "18446744073709551615"},
        ]),
    );
}

#[test]
fn damaged_tables_end_in_errors_and_never_in_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let mut writer = Writer::create(&path).unwrap();
    for number in 0..50 {
        let row = json!({"n": number, "text": format!("row {number}"), "ok": number % 2 == 0, "x": 0.5});
        writer.write(row.as_object().unwrap()).unwrap();
    }
    writer.finish().unwrap();
    let sheet = (1..20).map(|number| row(number, &["one", "two"])).collect::<String>();
    let samples = [
        ("csv", b"a,b\n1,\"2\n3\"\n\"4\"\"\",5\n6,7\n".to_vec()),
        ("tsv", "a\tb\nü\t2\n3\t4\n".as_bytes().to_vec()),
        ("jsonl", b"{\"a\": 1, \"b\": [1, {\"c\": \"\\u00fc\"}]}\n{\"a\": null}\n".to_vec()),
        ("parquet", std::fs::read(&path).unwrap()),
        ("xlsx", xlsx(&[("S", &sheet)])),
    ];
    let mut random = Random(7);
    for (extension, bytes) in &samples {
        assert!(parse(extension, bytes).unwrap().is_ok(), "{extension}");
        for _ in 0..300 {
            let damaged = random.damage(bytes);
            // Whatever comes of it: it comes, and errors name the file.
            if let Err(error) = parse(extension, &damaged).unwrap() {
                assert!(error.to_string().starts_with(&format!("bytes.{extension}: ")), "{error}");
            }
        }
    }
    // Damage within the archive, which its checksums would find.
    for _ in 0..300 {
        let damaged = random.damage(sheet.as_bytes());
        let book = xlsx(&[("S", &String::from_utf8_lossy(&damaged))]);
        if let Err(error) = parse("xlsx", &book).unwrap() {
            assert!(error.to_string().starts_with("bytes.xlsx: "), "{error}");
        }
    }
    assert!(parse("doc", b"").is_none());
}
