//! parquet: a column for each name with its type, all of them optional, compressed with Zstandard.

use super::columns::ColumnType;
use super::{Sink, Spool, text_of};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use serde_json::{Map, Value};
use std::io;
use std::sync::Arc;

/// Rows of a group are held in memory: so many, or those that come first to so many bytes.
const GROUP_ROWS: usize = 64 << 10;
const GROUP_BYTES: usize = 32 << 20;

/// Writes all rows.
pub fn encode(spool: &mut Spool, sink: &mut dyn Sink) -> io::Result<()> {
    let columns = spool.columns.typed().to_vec();
    if columns.is_empty() && spool.count > 0 {
        return Err(io::Error::other("rows without fields have no columns; name the file .jsonl instead"));
    }
    let schema = schema(&columns).map_err(failure)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = SerializedFileWriter::new(sink, schema, Arc::new(properties)).map_err(failure)?;
    let mut group: Vec<Map<String, Value>> = Vec::new();
    let mut bytes = 0;
    spool.each(|row| {
        bytes += row.iter().map(|(name, value)| name.len() + size_of_value(value)).sum::<usize>();
        group.push(row);
        if group.len() >= GROUP_ROWS || bytes >= GROUP_BYTES {
            write_group(&mut writer, &columns, &group).map_err(failure)?;
            group.clear();
            bytes = 0;
        }
        Ok(())
    })?;
    if !group.is_empty() {
        write_group(&mut writer, &columns, &group).map_err(failure)?;
    }
    writer.close().map_err(failure)?;
    Ok(())
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(_) | Value::Object(_) => value.to_string().len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// The system's error where there is one, so that a full disk is told as such.
fn failure(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

fn schema(columns: &[(String, ColumnType)]) -> Result<Arc<Type>, ParquetError> {
    let field = |(name, kind): &(String, ColumnType)| {
        let (physical, logical) = match kind {
            ColumnType::Boolean => (Physical::BOOLEAN, None),
            ColumnType::Integer => (Physical::INT64, None),
            ColumnType::Number => (Physical::DOUBLE, None),
            ColumnType::Text | ColumnType::Nothing => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
        builder.with_logical_type(logical).build().map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<_, _>>()?;
    Type::group_type_builder("rows").with_fields(fields).build().map(Arc::new)
}

fn write_group(
    writer: &mut SerializedFileWriter<&mut dyn Sink>,
    columns: &[(String, ColumnType)],
    rows: &[Map<String, Value>],
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for (name, kind) in columns {
        let values = || rows.iter().map(|row| row.get(name).filter(|value| !value.is_null()));
        // A value that is there is at level 1, one that is not at level 0.
        let levels: Vec<i16> = values().map(|value| i16::from(value.is_some())).collect();
        let present = values().flatten();
        let missing = || ParquetError::General(format!("column {name:?} has no writer of its type {kind:?}"));
        let mut column = group.next_column()?.ok_or_else(missing)?;
        match column.untyped() {
            ColumnWriter::BoolColumnWriter(typed) => {
                let values: Vec<bool> = present.filter_map(Value::as_bool).collect();
                typed.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::Int64ColumnWriter(typed) => {
                let values: Vec<i64> = present.filter_map(Value::as_i64).collect();
                typed.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::DoubleColumnWriter(typed) => {
                let values: Vec<f64> = present.filter_map(Value::as_f64).collect();
                typed.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::ByteArrayColumnWriter(typed) => {
                let values: Vec<ByteArray> =
                    present.map(|value| ByteArray::from(text_of(value).into_bytes())).collect();
                typed.write_batch(&values, Some(&levels), None)?;
            }
            _ => return Err(missing()),
        }
        column.close()?;
    }
    group.close()?;
    Ok(())
}
