//! What the ledger promises: who may write, what is kept, and what it says where it cannot.

use crate::error::LedgerError;
use crate::*;
use rusqlite::Connection;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

struct Scene {
    _folder: TempDir,
    path: PathBuf,
    ledger: Arc<Ledger>,
}

fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Arc::new(Ledger::open(&path).unwrap());
    Scene { _folder: folder, path, ledger }
}

fn new_job(fingerprint: &str) -> NewJob {
    NewJob {
        kind: "batch".to_owned(),
        title: "classify reviews.csv".to_owned(),
        spec: json!({"task": "task.toml", "input": "reviews.csv"}),
        fingerprint: fingerprint.to_owned(),
        input_sha256: Some("ab".repeat(32)),
    }
}

fn done(number: u64) -> Record {
    let outcome = RowOutcome::Done { outcome: json!({"label": number}), warnings: Vec::new() };
    let effort = Effort { attempts: 1, prompt_tokens: 10, cached_tokens: 4, completion_tokens: 2, milliseconds: 7 };
    Record { number, name: format!("line {number}"), outcome, effort }
}

fn failed(number: u64) -> Record {
    Record { outcome: RowOutcome::Failed { reason: "no field text".to_owned() }, ..done(number) }
}

fn numbers(ledger: &Ledger, job: JobId, selection: Selection) -> Vec<u64> {
    ledger.rows(job, selection, 0, 1000).unwrap().iter().map(|row| row.number).collect()
}

/// The text with the scene's folder cut out.
fn text(scene: &Scene, error: &LedgerError) -> String {
    error.to_string().replace(&scene.path.display().to_string(), "ledger.db")
}

#[test]
fn a_job_is_found_by_its_fingerprint_and_listed_newest_first() {
    let Scene { ledger, .. } = &scene();
    let first = ledger.create(&new_job("a")).unwrap();
    let second = ledger.create(&new_job("a")).unwrap();
    let third = ledger.create(&new_job("b")).unwrap();
    assert_eq!(first.new, new_job("a"));
    assert_eq!(first.state, JobState::Queued);
    assert_eq!(ledger.find("a").unwrap().unwrap().id, second.id);
    assert_eq!(ledger.find("c").unwrap(), None);
    let listed =
        |before, limit| -> Vec<JobId> { ledger.jobs(before, limit).unwrap().iter().map(|job| job.id).collect() };
    assert_eq!(listed(None, 2), [third.id, second.id]);
    assert_eq!(listed(Some(second.id), 2), [first.id]);
    let error = ledger.job(JobId(99)).unwrap_err();
    assert_eq!(error.to_string(), "no job 99\nhint: `bantam jobs` lists them");
}

#[test]
fn outcomes_and_sums_are_kept_and_read_in_order_by_another_process() {
    let scene = scene();
    let id = scene.ledger.create(&new_job("a")).unwrap().id;
    let claim = scene.ledger.claim(id).unwrap();
    let warned = Record {
        outcome: RowOutcome::Done { outcome: json!({"b": 1, "a": [null, "ä"]}), warnings: vec!["split".to_owned()] },
        ..done(3)
    };
    claim.record(&[warned.clone(), failed(1)]).unwrap();
    claim.record(&[done(2)]).unwrap();
    claim.set_total(5).unwrap();

    let other = Ledger::open(&scene.path).unwrap();
    let job = other.job(id).unwrap();
    assert_eq!((job.state, job.total, job.done, job.failed), (JobState::Running, Some(5), 2, 1));
    let sum = Effort { attempts: 0, prompt_tokens: 30, cached_tokens: 12, completion_tokens: 6, milliseconds: 21 };
    assert_eq!(job.effort, sum);
    assert_eq!(numbers(&other, id, Selection::All), [1, 2, 3]);
    assert_eq!(numbers(&other, id, Selection::Done), [2, 3]);
    assert_eq!(numbers(&other, id, Selection::Failed), [1]);
    assert_eq!(other.settled(id, 2, 10).unwrap(), [2, 3]);
    let row = &other.rows(id, Selection::All, 3, 1).unwrap()[0];
    assert_eq!(row.outcome.as_ref(), Some(&warned.outcome));
    assert_eq!(row.effort, warned.effort);
    assert_eq!(format!("{:?}", row.outcome), format!("{:?}", Some(warned.outcome)), "the order of fields is kept");
}

#[test]
fn numbers_and_texts_come_back_as_they_were() {
    let Scene { ledger, .. } = &scene();
    let id = ledger.create(&new_job("a")).unwrap().id;
    let numbers = [0.1 + 0.2, 5e-324, f64::MAX, 2.225_073_858_507_201e-308, 9_007_199_254_740_993.5, -0.0, 1e23];
    let outcome = json!({"numbers": numbers, "most": u64::MAX, "least": i64::MIN, "text": "a\u{0}b\u{fdd0}\n\"ä"});
    let record = Record {
        name: "a\u{0}b".to_owned(),
        outcome: RowOutcome::Done { outcome, warnings: vec!["\u{0}".to_owned()] },
        ..done(1)
    };
    ledger.claim(id).unwrap().record(std::slice::from_ref(&record)).unwrap();
    let row = ledger.rows(id, Selection::All, 1, 1).unwrap().remove(0);
    assert_eq!((row.name, row.outcome), (record.name, Some(record.outcome)));
}

#[test]
fn each_row_is_shown_once_over_many_pages() {
    let Scene { ledger, .. } = &scene();
    let id = ledger.create(&new_job("a")).unwrap().id;
    let records: Vec<Record> = (1..=1000).rev().map(done).collect();
    ledger.claim(id).unwrap().record(&records).unwrap();
    let mut seen = Vec::new();
    ledger
        .each_row(id, Selection::All, |row| {
            seen.push(row.number);
            Ok::<(), LedgerError>(())
        })
        .unwrap();
    assert_eq!(seen, (1..=1000).collect::<Vec<u64>>());
}

#[test]
fn an_outcome_is_never_replaced_and_a_group_is_recorded_whole_or_not_at_all() {
    let Scene { ledger, .. } = &scene();
    let id = ledger.create(&new_job("a")).unwrap().id;
    let claim = ledger.claim(id).unwrap();
    claim.record(&[done(1), failed(2)]).unwrap();
    for twice in [1, 2] {
        let error = claim.record(&[done(3), done(twice)]).unwrap_err();
        let expected = format!("job {id}: row {twice} has an outcome already, which is never replaced; this is a bug");
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(numbers(ledger, id, Selection::All), [1, 2]);
    assert_eq!(ledger.job(id).unwrap().done, 1);
}

#[test]
fn failed_rows_are_tried_again_and_what_they_took_is_added_up() {
    let Scene { ledger, .. } = &scene();
    let id = ledger.create(&new_job("a")).unwrap().id;
    let claim = ledger.claim(id).unwrap();
    claim.record(&[failed(1), done(2), failed(3)]).unwrap();
    assert_eq!(claim.retry_failed().unwrap(), 2);
    assert_eq!(numbers(ledger, id, Selection::Pending), [1, 3]);
    assert_eq!(ledger.settled(id, 0, 10).unwrap(), [2]);
    claim.record(&[done(3)]).unwrap();
    let job = ledger.job(id).unwrap();
    assert_eq!((job.done, job.failed, job.effort.prompt_tokens), (2, 0, 40));
    assert_eq!(ledger.rows(id, Selection::All, 3, 1).unwrap()[0].effort.attempts, 2);
}

#[test]
fn a_job_has_one_owner_and_is_free_when_that_one_is_gone() {
    let scene = scene();
    let id = scene.ledger.create(&new_job("a")).unwrap().id;
    let claim = scene.ledger.claim(id).unwrap();
    let other = Arc::new(Ledger::open(&scene.path).unwrap());
    assert!(other.is_worked_on(id).unwrap());
    let error = other.claim(id).unwrap_err();
    let host = other.job(id).unwrap().owner.unwrap().host;
    assert!(!host.is_empty());
    assert_eq!(
        error.to_string(),
        format!(
            "job {id} (classify reviews.csv) is being worked on by process {} on {host}\n\
             hint: wait for it, or stop it with `bantam jobs cancel {id}` and then go on; \
             a job whose process has ended is free at once",
            std::process::id()
        )
    );
    assert!(matches!(other.remove(id), Err(LedgerError::Owned { .. })));
    drop(claim);
    assert!(!other.is_worked_on(id).unwrap());
    other.claim(id).unwrap();
}

#[test]
fn whoever_lost_a_claim_writes_nothing_more() {
    let scene = scene();
    let id = scene.ledger.create(&new_job("a")).unwrap().id;
    let first = scene.ledger.claim(id).unwrap();
    // Somebody cleans up by hand: the lock is held on a file that has no name any more.
    std::fs::remove_file(scene.ledger.lock_path(id)).unwrap();
    let second = scene.ledger.claim(id).unwrap();
    let error = first.record(&[done(1)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "job {id} was taken over or removed while it was being worked on; nothing of it was recorded since\n\
             hint: `bantam jobs show {id}` shows where it stands"
        )
    );
    assert!(matches!(first.is_cancel_requested(), Err(LedgerError::Lost(_))));
    assert!(matches!(first.end(JobState::Done, None), Err(LedgerError::Lost(_))));
    second.record(&[done(1)]).unwrap();
}

#[test]
fn cancelling_asks_the_owner_or_acts_at_once() {
    let Scene { ledger, .. } = &scene();
    let id = ledger.create(&new_job("a")).unwrap().id;
    let claim = ledger.claim(id).unwrap();
    assert!(!claim.is_cancel_requested().unwrap());
    let Cancellation::Requested(owner) = ledger.cancel(id).unwrap() else { panic!("somebody works on it") };
    assert_eq!(owner.process, std::process::id());
    assert!(claim.is_cancel_requested().unwrap());
    drop(claim);
    assert_eq!(ledger.cancel(id).unwrap(), Cancellation::Cancelled);
    assert_eq!(ledger.job(id).unwrap().state, JobState::Cancelled);

    let claim = ledger.claim(id).unwrap();
    assert!(!claim.is_cancel_requested().unwrap(), "who goes on with it is not asked to stop");
    claim.end(JobState::Done, None).unwrap();
    drop(claim);
    let error = ledger.cancel(id).unwrap_err();
    let expected = format!("job {id} is done: nothing is left to cancel\nhint: `bantam jobs remove` forgets it");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_removed_job_takes_its_rows_along_and_its_number_is_not_given_again() {
    let Scene { ledger, .. } = &scene();
    let id = ledger.create(&new_job("a")).unwrap().id;
    ledger.claim(id).unwrap().record(&[done(1)]).unwrap();
    ledger.remove(id).unwrap();
    assert!(matches!(ledger.job(id), Err(LedgerError::UnknownJob(_))));
    assert!(!ledger.lock_path(id).exists());
    let next = ledger.create(&new_job("a")).unwrap().id;
    assert!(next > id);
    assert_eq!(numbers(ledger, id, Selection::All), Vec::<u64>::new());
}

#[test]
fn readers_go_on_while_a_writer_is_in_the_midst_of_it() {
    let scene = scene();
    let id = scene.ledger.create(&new_job("a")).unwrap().id;
    scene.ledger.claim(id).unwrap().record(&[done(1)]).unwrap();
    let writer = Connection::open(&scene.path).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM job_rows").unwrap();
    assert_eq!(numbers(&scene.ledger, id, Selection::All), [1]);
    writer.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn a_locked_ledger_says_so() {
    let scene = scene();
    let holder = Connection::open(&scene.path).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    scene.ledger.set_busy_timeout(Duration::from_millis(10));
    let error = scene.ledger.create(&new_job("a")).unwrap_err();
    assert_eq!(
        text(&scene, &error),
        "ledger.db: locked by another process for more than 10 s\n\
         hint: try again; if it stays so, find the process that has the file open"
    );
}

#[test]
fn a_full_disk_says_so_and_keeps_what_was_recorded() {
    let scene = scene();
    let id = scene.ledger.create(&new_job("a")).unwrap().id;
    let claim = scene.ledger.claim(id).unwrap();
    claim.record(&[done(1)]).unwrap();
    scene
        .ledger
        .write(|transaction| transaction.pragma_update(None, "max_page_count", 1).map_err(LedgerError::at(&scene.path)))
        .unwrap();
    let large = RowOutcome::Done { outcome: json!({"text": "a".repeat(1 << 20)}), warnings: Vec::new() };
    let error = claim.record(&[Record { outcome: large, ..done(2) }]).unwrap_err();
    let expected = "ledger.db: the disk is full\nhint: make room and go on with the job: what was recorded is kept";
    assert_eq!(text(&scene, &error), expected);
    assert_eq!(numbers(&scene.ledger, id, Selection::All), [1]);
}

#[test]
fn a_file_or_folder_that_cannot_be_written_says_so() {
    use rusqlite::ffi;
    let path = PathBuf::from("ledger.db");
    for code in [ffi::SQLITE_READONLY, ffi::SQLITE_CANTOPEN, ffi::SQLITE_PERM] {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("the file".to_owned()));
        let text = LedgerError::at(&path)(error).to_string();
        assert_eq!(
            text,
            "ledger.db: cannot be written: the file\n\
             hint: the file and its folder must be writable: SQLite keeps its log beside it"
        );
    }
    let refused = std::io::Error::new(std::io::ErrorKind::PermissionDenied, "no right");
    assert!(matches!(LedgerError::file(&path)(refused), LedgerError::NotWritable { .. }));

    let scene = scene();
    let error = Ledger::open(&scene.path.join("ledger.db")).unwrap_err();
    assert!(text(&scene, &error).starts_with("ledger.db/ledger.db.locks: "), "{error}");
}

#[test]
fn a_file_that_is_no_database_says_so_and_is_left_alone() {
    let scene = scene();
    let path = scene.path.with_file_name("notes.txt");
    let notes = "not a database at all, but long enough for a header. ".repeat(100);
    std::fs::write(&path, &notes).unwrap();
    let error = Ledger::open(&path).unwrap_err();
    assert_eq!(
        error.to_string().replace(&path.display().to_string(), "notes.txt"),
        "notes.txt: damaged, or no ledger: file is not a database\n\
         hint: move the file away, or restore it from a backup; jobs in it cannot go on without it"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), notes);
}

#[test]
fn a_row_that_holds_no_json_is_damage_that_names_the_column() {
    let scene = scene();
    let id = scene.ledger.create(&new_job("a")).unwrap().id;
    scene.ledger.claim(id).unwrap().record(&[done(1)]).unwrap();
    let other = Connection::open(&scene.path).unwrap();
    other.execute_batch("UPDATE job_rows SET outcome = '{\"label\":'").unwrap();
    let error = scene.ledger.rows(id, Selection::All, 0, 10).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("index: 5, EOF while parsing a value at line 1 column 9"), "{error}");
}

#[test]
fn damaged_files_are_errors_and_never_a_panic() {
    let scene = scene();
    let id = scene.ledger.create(&new_job("a")).unwrap().id;
    let records: Vec<Record> = (1..=200).map(done).collect();
    scene.ledger.claim(id).unwrap().record(&records).unwrap();
    Connection::open(&scene.path).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let whole = std::fs::read(&scene.path).unwrap();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let mut refused = 0;
    for round in 0..150 {
        let mut bytes = whole.clone();
        for _ in 0..1 + next(40) {
            let place = next(bytes.len());
            bytes[place] = next(256) as u8;
        }
        if round % 3 == 0 {
            bytes.truncate(next(whole.len()));
        }
        let path = scene.path.with_file_name(format!("damaged-{round}.db"));
        std::fs::write(&path, bytes).unwrap();
        refused += usize::from(read_all(&path, id).is_err());
    }
    assert!(refused > 30, "only {refused} of 150 were found damaged");
}

/// Opens a ledger and does something of each kind.
fn read_all(path: &std::path::Path, id: JobId) -> Result<(), LedgerError> {
    let ledger = Arc::new(Ledger::open(path)?);
    ledger.jobs(None, 10)?;
    ledger.find("a")?;
    ledger.settled(id, 0, 1000)?;
    ledger.each_row(id, Selection::Failed, |_| Ok::<(), LedgerError>(()))?;
    ledger.each_row(id, Selection::All, |_| Ok::<(), LedgerError>(()))?;
    ledger.claim(id)?.record(&[done(1000)])
}

#[test]
fn a_ledger_opened_by_many_at_once_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new").join("ledger.db");
    std::thread::scope(|scope| {
        for fingerprint in ["a", "b", "c", "d"] {
            let path = &path;
            scope.spawn(move || Ledger::open(path).unwrap().create(&new_job(fingerprint)).unwrap());
        }
    });
    assert_eq!(Ledger::open(&path).unwrap().jobs(None, 10).unwrap().len(), 4);
}

#[test]
fn a_number_of_a_job_is_read_as_people_type_it() {
    assert_eq!(JobId::parse("12"), Ok(JobId(12)));
    let expected = "expected the number of a job, got \"x\"\nhint: `bantam jobs` lists them";
    assert_eq!(JobId::parse("x"), Err(expected.to_owned()));
    assert!(JobId::parse("-1").is_err() && JobId::parse("99999999999999999999").is_err());
}

#[test]
fn of_two_equal_jobs_created_at_once_one_is_made() {
    let Scene { ledger, .. } = &scene();
    let first = ledger.create_since(&new_job("a"), None).unwrap();
    assert_eq!(ledger.create_since(&new_job("a"), None).unwrap().id, first.id, "created since it was looked for");
    let anew = ledger.create_since(&new_job("a"), Some(first.id)).unwrap();
    assert_ne!(anew.id, first.id, "whoever has seen the first one wants another");
}

#[test]
fn a_job_that_was_done_once_is_known_as_such_whatever_comes_after() {
    let Scene { ledger, .. } = &scene();
    let id = ledger.create(&new_job("a")).unwrap().id;
    let end = |state| {
        ledger.claim(id).unwrap().end(state, None).unwrap();
        ledger.job(id).unwrap().was_done
    };
    assert!(!end(JobState::Queued));
    assert!(end(JobState::Done));
    assert!(end(JobState::Queued));
}

#[test]
fn what_a_removed_job_said_is_in_no_file_any_more() {
    let Scene { ledger, path, _folder: folder } = &scene();
    let id = ledger.create(&new_job("a")).unwrap().id;
    let said = "a-secret-that-nobody-else-says";
    let outcome = RowOutcome::Done { outcome: json!({"label": said}), warnings: Vec::new() };
    ledger.claim(id).unwrap().record(&[Record { outcome, ..done(1) }]).unwrap();
    let files_that_say = || {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let texts = files.filter(|file| file.is_file()).map(|file| std::fs::read(file).unwrap());
        texts.filter(|bytes| bytes.windows(said.len()).any(|window| window == said.as_bytes())).count()
    };
    assert!(files_that_say() > 0);
    ledger.remove(id).unwrap();
    assert_eq!(files_that_say(), 0);
    assert!(path.exists());
}

#[cfg(unix)]
#[test]
fn a_new_ledger_and_its_log_are_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let Scene { path, ledger, .. } = &scene();
    ledger.create(&new_job("a")).unwrap();
    for name in ["", "-wal", "-shm"] {
        let file = PathBuf::from(format!("{}{name}", path.display()));
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{name:?}");
    }
}
