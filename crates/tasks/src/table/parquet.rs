//! parquet: columns with types. Nested columns become JSON; dates and decimals, which JSON has not, become texts.

use super::{NO_ROWS, Opened, Parsed, check_columns, data};
use crate::TaskError;
use base64::Engine;
use parquet::basic::{Compression, ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use serde_json::{Map, Number, Value};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Opens a parquet file. Its rows are read in batches of a row group.
pub fn open(path: &Path, _sheet: Option<&str>) -> Result<Opened, TaskError> {
    let file = File::open(path).map_err(|error| super::unreadable(path, &error))?;
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        return Err(data(path, super::EMPTY));
    }
    read(file, path)
}

fn read<F: ChunkReader + 'static>(file: F, path: &Path) -> Result<Opened, TaskError> {
    let wrong = |error: ParquetError| data(path, &format!("expected a parquet file, got one with an error: {error}"));
    let bytes = file.len();
    let reader = SerializedFileReader::new(file).map_err(wrong)?;
    let metadata = reader.metadata();
    let fields = metadata.file_metadata().schema().get_fields().to_vec();
    let columns: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
    check_columns(&columns).map_err(|reason| data(path, &reason))?;
    for chunk in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let (start, length) = (chunk.data_page_offset(), chunk.compressed_size());
        let end = u64::try_from(start)
            .ok()
            .zip(u64::try_from(length).ok())
            .and_then(|(start, length)| start.checked_add(length));
        if end.is_none_or(|end| end > bytes) {
            let place = format!("column {:?}: {length} bytes at {start}", chunk.column_path().string());
            return Err(data(path, &format!("expected columns within the file of {bytes} bytes, got {place}")));
        }
    }
    let count = u64::try_from(metadata.file_metadata().num_rows())
        .map_err(|_| data(path, "expected a number of rows, got a negative one"))?;
    if count == 0 {
        return Err(data(path, NO_ROWS));
    }
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    if let Some(codec) =
        chunks.map(|chunk| chunk.compression()).find(|codec| matches!(codec, Compression::BROTLI(_) | Compression::LZO))
    {
        let hint = "write the file anew with another compression, such as zstd";
        return Err(data(path, &format!("expected a compression that is known, got {codec}\nhint: {hint}")));
    }
    let kinds = fields.iter().map(|field| Kind::of(field)).collect();
    let warnings = fields.iter().filter_map(|field| warning(field)).collect();
    let rows = RowIter::from_file_into(Box::new(reader));
    let rows = Rows { rows, kinds, path: path.to_path_buf(), left: count, number: 0 };
    Ok(Opened { columns, count: Some(count), warnings, rows: Box::new(rows) })
}

/// What the library that assembles rows does not tell of a column.
#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    /// Times are counted in billionths of a second since 1970, which it gives as plain numbers.
    nanoseconds: bool,
    /// Times are those of a clock on some wall, which it gives as if they were those of Greenwich.
    local: bool,
}

impl Kind {
    fn of(field: &Type) -> Kind {
        match field.get_basic_info().logical_type_ref() {
            Some(LogicalType::Timestamp(time)) => {
                Kind { nanoseconds: time.unit == TimeUnit::NANOS, local: !time.is_adjusted_to_u_t_c }
            }
            _ => Kind::default(),
        }
    }

    /// A time as a text.
    fn time(self, field: &Field) -> Value {
        let text = match field {
            Field::Long(value) => nanoseconds(*value),
            other => other.to_string(),
        };
        let zone = if self.local { " +00:00" } else { "" };
        Value::String(text.strip_suffix(zone).unwrap_or(&text).to_owned())
    }
}

fn warning(field: &Type) -> Option<String> {
    let info = field.get_basic_info();
    let bytes = field.is_primitive()
        && matches!(field.get_physical_type(), Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY)
        && info.converted_type() == ConvertedType::NONE
        && info.logical_type_ref().is_none();
    bytes.then(|| {
        format!("column {:?} holds bytes: they are given as text where they are UTF-8, else in base64", field.name())
    })
}

struct Rows {
    rows: RowIter<'static>,
    kinds: Vec<Kind>,
    path: PathBuf,
    /// Rows that the file says are still to come.
    left: u64,
    number: u64,
}

impl Iterator for Rows {
    type Item = Result<Map<String, Value>, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.left.checked_sub(1)?;
        self.number += 1;
        let wrong = |reason: String| data(&self.path, &format!("row {}: {reason}", self.number));
        let row = match self.rows.next() {
            Some(Ok(row)) => row,
            other => {
                // A damaged column has no next row to go on with.
                let missing = self.left;
                self.left = 0;
                let reason = match other {
                    Some(Err(error)) => format!("cannot be read, nor what follows: {error}"),
                    _ => format!("expected {missing} more rows, got the end of the file"),
                };
                return Some(Err(wrong(reason)));
            }
        };
        self.left = left;
        let fields =
            row.into_columns().into_iter().zip(&self.kinds).map(|((name, field), &kind)| (name, json(&field, kind)));
        Some(Ok(fields.collect()))
    }
}

/// A value as JSON.
fn json(field: &Field, kind: Kind) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(*value),
        Field::Byte(value) => Value::from(*value),
        Field::Short(value) => Value::from(*value),
        Field::Int(value) => Value::from(*value),
        Field::Long(_) if kind.nanoseconds => kind.time(field),
        Field::Long(value) => Value::from(*value),
        Field::UByte(value) => Value::from(*value),
        Field::UShort(value) => Value::from(*value),
        Field::UInt(value) => Value::from(*value),
        Field::ULong(value) => Value::from(*value),
        Field::Float16(value) => float(f64::from(value.to_f32())),
        // By way of its shortest text, so that 0.1 does not become 0.10000000149.
        Field::Float(value) => float(value.to_string().parse().unwrap_or(f64::from(*value))),
        Field::Double(value) => float(*value),
        Field::Str(value) => Value::String(value.clone()),
        Field::Bytes(value) => match std::str::from_utf8(value.data()) {
            Ok(text) => Value::String(text.to_owned()),
            Err(_) => Value::String(base64::engine::general_purpose::STANDARD.encode(value.data())),
        },
        Field::Decimal(_)
        | Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => kind.time(field),
        Field::Group(row) => {
            row.get_column_iter().map(|(name, field)| (name.clone(), json(field, Kind::default()))).collect()
        }
        Field::ListInternal(list) => list.elements().iter().map(|field| json(field, Kind::default())).collect(),
        Field::MapInternal(map) => {
            let name = |key: &Field| match json(key, Kind::default()) {
                Value::String(name) => name,
                other => other.to_string(),
            };
            map.entries().iter().map(|(key, value)| (name(key), json(value, Kind::default()))).collect()
        }
    }
}

/// JSON has no infinities and nothing that is not a number: those are texts.
fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number)
}

/// As microseconds are written, with three more digits.
fn nanoseconds(value: i64) -> String {
    let text = Field::TimestampMicros(value.div_euclid(1000)).to_string();
    let digits = format!("{:03}", value.rem_euclid(1000));
    let Some(end) = text.find('.').map(|point| point + 7).filter(|&end| end <= text.len() && digits != "000") else {
        return text;
    };
    format!("{}{digits}{}", &text[..end], &text[end..])
}

/// The rows of bytes that are in memory.
pub fn parse(bytes: &[u8]) -> Result<Parsed, TaskError> {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    Ok(read(bytes, Path::new("bytes.parquet"))?.rows.collect())
}
