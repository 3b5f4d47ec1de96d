//! The tables, as numbered steps: a file that is behind takes those it lacks, one that is ahead is refused.
//!
//! A step that was released is never changed; new tables are a new file and a line in [`MIGRATIONS`].

use crate::LedgerError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// In order; the version of a file is how many of them it has taken.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_jobs.sql"),
    include_str!("migrations/0002_written.sql"),
    include_str!("migrations/0003_runs.sql"),
    include_str!("migrations/0004_grades.sql"),
    include_str!("migrations/0005_test_inputs.sql"),
];

/// Written into the file's header, so that another program's database is told from a ledger ("BNTM").
const APPLICATION: i64 = 0x424e_544d;

/// Brings a file to the newest version, in one transaction.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
    migrate_by(connection, path, MIGRATIONS)
}

fn migrate_by(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), LedgerError> {
    let at = LedgerError::at(path);
    let known = migrations.len() as i64;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&at)?;
    let number = |sql: &str| transaction.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(&at);
    let application = number("PRAGMA application_id")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let version = number("PRAGMA user_version")?;
    let is_fresh = application == 0 && tables == 0 && version == 0;
    if !is_fresh && application != APPLICATION {
        return Err(LedgerError::Foreign { path: path.to_path_buf() });
    }
    if version > known {
        return Err(LedgerError::Newer { path: path.to_path_buf(), version, known });
    }
    let taken = usize::try_from(version).map_err(|_| LedgerError::Damaged {
        path: path.to_path_buf(),
        reason: format!("expected a version of 0 to {known}, got {version}"),
    })?;
    if taken == migrations.len() {
        return Ok(());
    }
    for sql in &migrations[taken..] {
        transaction.execute_batch(sql).map_err(&at)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(&at)?;
    transaction.pragma_update(None, "user_version", known).map_err(&at)?;
    transaction.commit().map_err(&at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> &'static Path {
        Path::new("ledger.db")
    }

    #[test]
    fn a_file_takes_the_steps_that_it_lacks_and_no_other() {
        let mut connection = Connection::open_in_memory().unwrap();
        let first = "CREATE TABLE a (x); INSERT INTO a VALUES (1)";
        migrate_by(&mut connection, path(), &[first]).unwrap();
        migrate_by(&mut connection, path(), &[first, "CREATE TABLE b (x)"]).unwrap();
        migrate_by(&mut connection, path(), &[first, "CREATE TABLE b (x)"]).unwrap();
        let rows: i64 = connection
            .query_row("SELECT (SELECT count(*) FROM a) + 10 * (SELECT count(*) FROM b)", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 1);
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(migrate_by(&mut connection, path(), &["CREATE TABLE a (x)", "CREATE TABLE a (x)"]).is_err());
        migrate_by(&mut connection, path(), &["CREATE TABLE a (x)"]).unwrap();
    }

    #[test]
    fn a_newer_file_is_refused_with_both_versions() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_by(&mut connection, path(), &["CREATE TABLE a (x)", "CREATE TABLE b (x)"]).unwrap();
        let error = migrate_by(&mut connection, path(), &["CREATE TABLE a (x)"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ledger.db: written by a newer bantam: expected a ledger of version 1 or below, got 2\n\
             hint: update bantam, or keep this ledger for the newer one and name another file"
        );
    }

    #[test]
    fn a_database_of_another_program_is_refused_and_not_touched() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE accounts (x)").unwrap();
        let error = migrate_by(&mut connection, path(), MIGRATIONS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ledger.db: expected a ledger, got a database of another program\nhint: name another file"
        );
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }
}
