//! A model split over several files, `NAME-00001-of-00003.gguf` and so on, opened as one.
//!
//! Each shard is a whole GGUF file with the entries `split.no` (from 0), `split.count` and `split.tensors.count` (over
//! all shards); the first also holds the metadata of the model. Source: `gguf-split` of llama.cpp.

use std::path::{Path, PathBuf};

use super::parse::TENSORS_MAX;
use super::{Gguf, Tensors};
use crate::FormatError;
use crate::error::{CONVERT_AGAIN, quoted};

const NUMBER_KEY: &str = "split.no";
const COUNT_KEY: &str = "split.count";
const TENSORS_KEY: &str = "split.tensors.count";

/// The digits of a shard's number and count in its name.
const DIGITS: usize = 5;

/// The name of one file of a split model: `NAME-00001-of-00003.gguf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardName {
    /// What all shards are called before their numbers.
    pub stem: String,
    /// Which shard, from 1.
    pub number: usize,
    /// How many there are.
    pub count: usize,
}

impl ShardName {
    /// Reads a file's name, folders before it included; none if it is not that of a shard.
    pub fn parse(name: &str) -> Option<ShardName> {
        let digits = |text: &str| {
            let sound = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| sound)
        };
        let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let shard = ShardName { stem: stem.to_string(), number: digits(number)?, count: digits(count)? };
        (1..=shard.count).contains(&shard.number).then_some(shard)
    }

    /// The names of all shards of the model, in order. Five digits bound the list.
    pub fn all(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.count).map(|number| format!("{}{}", self.stem, ending(number, self.count)))
    }
}

/// How the name of a shard ends; `number` counts from 1.
fn ending(number: usize, count: usize) -> String {
    format!("-{number:0DIGITS$}-of-{count:0DIGITS$}.gguf")
}

pub(super) fn open(path: &Path) -> Result<Gguf, FormatError> {
    let asked = Gguf::open_one(path)?;
    let count = asked.metadata.usize(COUNT_KEY)?.unwrap_or(1);
    if count <= 1 {
        return Ok(asked);
    }
    let number = asked.metadata.usize(NUMBER_KEY)?.unwrap_or(0);
    let paths = sibling_paths(path, number, count)?;
    if let Some(missing) = paths.iter().find(|path| !path.exists()) {
        return Err(FormatError::Missing {
            file: missing.clone(),
            needed_by: format!("the model in {count} parts at {}", path.display()),
            hint: "fetch all parts into one folder".to_string(),
        });
    }
    join(&paths)
}

pub(super) fn open_all(paths: &[&Path]) -> Result<Gguf, FormatError> {
    if paths.is_empty() {
        return Err(FormatError::Missing {
            file: PathBuf::from("the first shard"),
            needed_by: "a model without files".to_string(),
            hint: "fetch the model again".to_string(),
        });
    }
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    join(&paths)
}

/// Where the shards lie, by the name of one of them.
fn sibling_paths(path: &Path, number: usize, count: usize) -> Result<Vec<PathBuf>, FormatError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let wrong_name = || FormatError::Unsupported {
        file: path.display().to_string(),
        field: "file name of a part of a split model".to_string(),
        expected: format!("a name that ends in `{}`", ending(number + 1, count)),
        got: quoted(name).to_string(),
        hint: "give the parts their names back; they are found by them".to_string(),
    };
    // Five digits are all that a name has room for, which bounds the list.
    if count >= 10_usize.pow(DIGITS as u32) || number >= count {
        return Err(FormatError::damaged(
            &path.display().to_string(),
            NUMBER_KEY,
            format!("a number below {COUNT_KEY}, itself below 100000"),
            format!("{number} of {count}"),
        ));
    }
    let asked = ShardName::parse(name).filter(|shard| (shard.number, shard.count) == (number + 1, count));
    Ok(asked.ok_or_else(wrong_name)?.all().map(|name| path.with_file_name(name)).collect())
}

/// Opens the shards in order and puts their tensors one behind the other.
fn join(paths: &[PathBuf]) -> Result<Gguf, FormatError> {
    let Gguf { version, metadata, tensors } = Gguf::open_one(&paths[0])?;
    let mut all = tensors.into_vec();
    check_number(&metadata, 0, paths.len())?;
    for (number, path) in paths.iter().enumerate().skip(1) {
        let shard = Gguf::open_one(path)?;
        check_number(&shard.metadata, number, paths.len())?;
        all.extend(shard.tensors.into_vec());
        if all.len() > TENSORS_MAX {
            let got = all.len().to_string();
            return Err(FormatError::damaged(shard.metadata.file(), "tensors", format!("at most {TENSORS_MAX}"), got));
        }
    }
    if let Some(expected) = metadata.usize(TENSORS_KEY)?
        && expected != all.len()
    {
        let got = format!("{} in all parts together", all.len());
        return Err(FormatError::damaged(metadata.file(), TENSORS_KEY, expected.to_string(), got));
    }
    let tensors = Tensors::new(all).map_err(|name| FormatError::Damaged {
        file: metadata.file().to_string(),
        field: format!("tensor {}", quoted(&name)),
        expected: "each name in one part".to_string(),
        got: "the name in two".to_string(),
        hint: CONVERT_AGAIN,
    })?;
    Ok(Gguf { version, metadata, tensors })
}

fn check_number(metadata: &super::Metadata, number: usize, count: usize) -> Result<(), FormatError> {
    let got = (metadata.usize(NUMBER_KEY)?.unwrap_or(0), metadata.usize(COUNT_KEY)?.unwrap_or(1));
    if got == (number, count) {
        return Ok(());
    }
    Err(FormatError::Damaged {
        file: metadata.file().to_string(),
        field: format!("{NUMBER_KEY} and {COUNT_KEY}"),
        expected: format!("{number} and {count}"),
        got: format!("{} and {}", got.0, got.1),
        hint: "the parts are of different models, or have each other's names; fetch them again",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards_are_told_from_others_and_lead_to_all() {
        let shard = ShardName::parse("BF16/m-of-x-00002-of-00003.gguf").unwrap();
        assert_eq!((shard.stem.as_str(), shard.number, shard.count), ("BF16/m-of-x", 2, 3));
        let all: Vec<String> = shard.all().collect();
        let expected = [1, 2, 3].map(|number| format!("BF16/m-of-x-0000{number}-of-00003.gguf"));
        assert_eq!(all, expected);
        for other in [
            "m.gguf",
            "m-00001-of-00002",
            "m-00000-of-00002.gguf",
            "m-00003-of-00002.gguf",
            "m-1-of-2.gguf",
            "m-00001-of-000002.gguf",
            "m-0000a-of-00002.gguf",
            "m-+0001-of-00002.gguf",
            "best-of-both.gguf",
            "",
        ] {
            assert_eq!(ShardName::parse(other), None, "{other}");
        }
    }
}
