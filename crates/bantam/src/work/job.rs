//! Many inputs whose results go to a file: a job of the ledger, which the same command goes on with after whatever ended
//! it.
//!
//! A job is known again by its fingerprint: task, model, inputs with their digests, limit and output. Read next:
//! `row.rs`, what a row of results looks like; `tasks::batch`, which does the work.

use super::given::{Given, as_field, open, reader};
use super::options::WorkArgs;
use super::row::RowShape;
use super::watch::JobWatch;
use super::{host, model_name, prepare};
use crate::failure::{Interrupted, UsedWrongly};
use crate::generation::LoadArgs;
use crate::session::Session;
use futures::executor::block_on;
use futures::future::{Either, select};
use hub::Home;
use ledger::{Claim, Job, JobId, JobState, Ledger, NewJob};
use local::{LoadOptions, LocalHost};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tasks::batch::{
    Batch, Ending, OutputRow, Retries, Rows, Sink, Source, SourceRow, Summary, file_sha256, fingerprint, run_claimed,
};
use tasks::documents::Reader;
use tasks::table::Writer;
use tasks::{Inputs, Item, Task, TaskError, Work};

/// The jobs of this user.
///
/// # Errors
/// No data directory, or a ledger that cannot be opened.
pub fn ledger() -> anyhow::Result<Arc<Ledger>> {
    Ok(Arc::new(Ledger::open(&Home::from_env()?.root().join("ledger.sqlite"))?))
}

/// What is told of a job at its end.
#[derive(Serialize)]
struct Output<'a> {
    job: i64,
    out: &'a Path,
    rows: u64,
    done: u64,
    failed: u64,
    resumed: bool,
    prompt_tokens: u64,
    cached_tokens: u64,
    completion_tokens: u64,
    seconds: f64,
}

pub fn execute(task: &Task, given: Given, args: &WorkArgs, session: &Session) -> anyhow::Result<()> {
    let (Given::Many(paths), Some(out)) = (given, &args.out) else {
        return Err(UsedWrongly("--out is for many inputs\nhint: name them by --in".to_owned()).into());
    };
    refuse_as_input(out, &paths)?;
    let inputs = open(&paths, args, task, session)?;
    let field = if inputs.has_tables() { tasks::TEXT } else { task.text_field()? }.to_owned();
    let shape = RowShape::new(task, inputs.has_tables(), !is_lines(out));
    let source =
        FileSource { paths, reader: reader(args)?, field, limit: args.limit, total: count(inputs, args.limit) };
    // What cannot be written is known before anything is done; the file itself appears at the end.
    let sink = FileSink { writer: Some(Writer::create(out)?), shape };
    let host = host(args, session)?;
    let model = model_name(task, &host);
    host.source(&model, &session.download_progress())?;
    let ledger = ledger()?;
    let wanted = Wanted { task, model: &model, source: &source, out };
    let (job, is_begun) = choose(&ledger, &wanted, &identity(&host, &model)?, args, session)?;
    // Nobody else works on the job, nor removes it, while the model is loaded.
    let claim = ledger.claim(job)?;
    let prepared = prepare(task, args, &host, session).inspect_err(|error| {
        // The first error says more than one that follows from it.
        let _ = claim.end(JobState::Failed, Some(&format!("{error:#}")));
    })?;
    let watch = Arc::new(JobWatch::new(session.terminal));
    let interrupt = Arc::new(AtomicBool::new(false));
    let concurrency = prepared.ready.concurrency();
    session.terminal.note(&format!("job {job}: {}, {concurrency} rows under way at once", titled(task, out)));
    let batch = Batch {
        work: Arc::new(prepared.ready),
        source: Arc::new(source),
        sink: Box::new(sink),
        watch: Arc::clone(&watch) as _,
        interrupt: Arc::clone(&interrupt),
        retries: Retries::default(),
        retry_failed: args.retry_failed,
    };
    let summary = work(claim, batch, &interrupt, session);
    watch.end();
    tell(&summary.map_err(|error| going_on(&error, job))?, out, is_begun, args, session)
}

/// Refuses results that would replace an input, or be one of the next run.
fn refuse_as_input(out: &Path, inputs: &[PathBuf]) -> Result<(), UsedWrongly> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Where there is no such folder, whoever creates the file says so.
    let (Ok(folder), Some(name)) = (folder.canonicalize(), out.file_name()) else { return Ok(()) };
    let file = folder.join(name);
    let file = file.canonicalize().unwrap_or(file);
    for input in inputs {
        let Ok(path) = input.canonicalize() else { continue };
        let (out, input) = (out.display(), input.display());
        if path == file {
            let text = format!("--out: {out} is an input too\nhint: name another file for the results");
            return Err(UsedWrongly(text));
        }
        if path.is_dir() && file.starts_with(&path) {
            return Err(UsedWrongly(format!(
                "--out: {out} lies in the folder {input} of --in, and would be an input of the next run\n\
                 hint: name a file outside of the folder"
            )));
        }
    }
    Ok(())
}

/// Runs a job; the first Ctrl-C lets it end where it can go on, the second ends the program.
fn work(claim: Claim, batch: Batch, interrupt: &AtomicBool, session: &Session) -> Result<Summary, TaskError> {
    let mut interrupts = session.interrupts.listen();
    let mut running = Box::pin(run_claimed(claim, batch));
    if let Either::Right((summary, _)) = block_on(select(pin!(interrupts.next()), &mut running)) {
        return summary;
    }
    interrupt.store(true, Ordering::Release);
    drop(interrupts);
    block_on(running)
}

/// A failed job says how it goes on.
fn going_on(error: &TaskError, job: JobId) -> anyhow::Error {
    let text = error.to_string();
    let join = if text.contains("\nhint: ") { "; " } else { "\nhint: " };
    anyhow::anyhow!("{text}{join}what is done stays done; once this is mended, the same command goes on with job {job}")
}

fn tell(summary: &Summary, out: &Path, is_begun: bool, args: &WorkArgs, session: &Session) -> anyhow::Result<()> {
    let Summary { job, ending, progress } = summary;
    let (settled, total) = (progress.done + progress.failed, progress.total.unwrap_or(progress.done + progress.failed));
    if *ending != Ending::Done {
        session.terminal.note(&format!(
            "job {job}: {settled} of {total} rows are done; nothing is written to {} yet\n\
             hint: the same command goes on with the rest; `bantam jobs show {job}` says where it stands",
            out.display()
        ));
        return match ending {
            Ending::Cancelled => anyhow::bail!("job {job} was cancelled by `bantam jobs cancel`"),
            _ => Err(Interrupted.into()),
        };
    }
    if args.json {
        session.terminal.json(&Output {
            job: job.0,
            out,
            rows: total,
            done: progress.done,
            failed: progress.failed,
            resumed: is_begun,
            prompt_tokens: progress.prompt_tokens,
            cached_tokens: progress.cached_tokens,
            completion_tokens: progress.completion_tokens,
            seconds: progress.elapsed.as_secs_f64(),
        })?;
    }
    let (now, seconds) = (progress.settled_now, progress.elapsed.as_secs_f64());
    let rate = progress.rows_per_second().map_or(String::new(), |rate| format!(", {rate:.1} rows/s"));
    session.terminal.note(&format!("job {job}: {now} of {total} rows in {seconds:.1} s{rate}: {}", out.display()));
    if progress.failed > 0 {
        anyhow::bail!(
            "{} of {total} rows failed; `error` of their results says why\n\
             hint: `bantam jobs show {job}` lists them, the same command with --retry-failed tries them again",
            progress.failed
        );
    }
    Ok(())
}

/// What a job is known by.
struct Wanted<'a> {
    task: &'a Task,
    model: &'a str,
    source: &'a FileSource,
    out: &'a Path,
}

/// The job of this command: a new one, or one that was begun, and whether it was.
fn choose(
    ledger: &Ledger,
    wanted: &Wanted<'_>,
    identity: &str,
    args: &WorkArgs,
    session: &Session,
) -> anyhow::Result<(JobId, bool)> {
    let Wanted { task, model, source, out } = *wanted;
    let examples = match (&task.data.train, task.shots()) {
        (Some(train), 1..) => file_sha256(train)?,
        _ => String::new(),
    };
    let input = source.digest()?;
    let target = std::path::absolute(out)?;
    // Names that are not Unicode stay apart where they are written with escapes.
    let target = target.to_str().map_or_else(|| format!("{target:?}"), str::to_owned);
    let limit = args.limit.map_or(String::new(), |limit| limit.to_string());
    let loading = loaded_with(&args.load);
    let parts = [task.kind(), &task.fingerprint(), identity, &loading, &examples, &input, &limit, &target];
    let fingerprint = fingerprint(&parts);
    let found = ledger.find(&fingerprint)?;
    if let Some(job) = &found
        && goes_on(job, out, args)?
    {
        let settled = job.done + job.failed;
        session.terminal.note(&format!("job {} was begun before: {settled} rows are done already", job.id));
        return Ok((job.id, true));
    }
    if args.retry_failed {
        anyhow::bail!("--retry-failed: there is no job of this task, model, input and output yet\nhint: leave it out");
    }
    if out.exists() && !args.overwrite {
        return Err(taken(out, ""));
    }
    let command: Vec<_> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let paths: Vec<_> = source.paths.iter().map(|path| path.display().to_string()).collect();
    let folder = std::env::current_dir()?.display().to_string();
    let spec = json!({
        "command": command, "folder": folder, "task": task.name, "model": model, "in": paths, "out": target,
    });
    let (kind, title) = (task.kind().to_owned(), titled(task, out));
    let new = NewJob { kind, title, spec, fingerprint, input_sha256: Some(input) };
    let job = ledger.create_since(&new, found.map(|job| job.id))?;
    Ok((job.id, false))
}

/// Whether a job that has been is gone on with rather than done anew.
fn goes_on(job: &Job, out: &Path, args: &WorkArgs) -> anyhow::Result<bool> {
    let is_settled = job.total == Some(job.done + job.failed);
    match job.state {
        JobState::Done if args.retry_failed && job.failed == 0 => {
            anyhow::bail!("--retry-failed: no row of job {} failed\nhint: leave it out", job.id)
        }
        JobState::Done if args.retry_failed => Ok(true),
        JobState::Done if args.overwrite => Ok(false),
        JobState::Done if out.exists() => {
            let failed = if job.failed > 0 { "; --retry-failed tries again what failed" } else { "" };
            Err(taken(out, &format!("; job {} did the same before{failed}", job.id)))
        }
        // Its file is gone and is written once more from the ledger.
        JobState::Done => Ok(true),
        // A file that is there while rows are left is this job's only where it was done before and rows are tried again.
        _ if out.exists() && !is_settled && !job.was_done && !args.overwrite => Err(taken(out, "")),
        _ => Ok(true),
    }
}

fn taken(out: &Path, further: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "{}: there is such a file already{further}\nhint: --overwrite replaces it, or name another file",
        out.display()
    )
}

fn titled(task: &Task, out: &Path) -> String {
    // A task made of options is called by its kind.
    let name = if task.name == task.kind() { task.name.clone() } else { format!("{} ({})", task.name, task.kind()) };
    format!("{name} to {}", out.display())
}

fn is_lines(out: &Path) -> bool {
    out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl"))
}

/// What says whether a model of this name is still the same: the digests of its weights, or of a file outside the store
/// its size and when it was changed.
pub fn identity(host: &LocalHost, name: &str) -> anyhow::Result<String> {
    let hub = host.hub();
    let names = if hub.resolve(name).is_ok() { vec![name] } else { name.split('+').collect() };
    let mut parts = vec![name.to_owned()];
    for name in names {
        let reference = hub.resolve(name)?;
        let digest = hub.manifest(&reference)?.and_then(|manifest| manifest.digest());
        parts.push(match digest {
            Some(digest) => digest.to_string(),
            None => {
                let metadata = std::fs::metadata(hub.locate(&reference)?)?;
                let changed = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                format!("{} bytes, {} ns", metadata.len(), changed.as_nanos())
            }
        });
    }
    Ok(parts.join("\n"))
}

/// What of loading a model changes its answers. Threads do not.
pub fn loaded_with(load: &LoadArgs) -> String {
    let LoadArgs { context, yarn, kv_type, threads: _ } = load;
    let context = context.map(|context| format!("context {context}"));
    let yarn = yarn.map(|factor| format!("yarn {factor}"));
    let kv_type = kv_type.unwrap_or_else(|| LoadOptions::default().kv_element);
    let kv_type = Some(format!("keys and values {}", kv_type.name()));
    [context, yarn, kv_type].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// How many inputs there are. Rows of tables that do not say are counted, which takes no more than reading them; only
/// tables do not say.
fn count(inputs: Inputs, limit: Option<u64>) -> u64 {
    let total = inputs.remaining().unwrap_or_else(|| inputs.count() as u64);
    total.min(limit.unwrap_or(u64::MAX))
}

/// Inputs of files, as a source of a job.
struct FileSource {
    paths: Vec<PathBuf>,
    reader: Reader,
    /// What a document's text is called.
    field: String,
    limit: Option<u64>,
    total: u64,
}

impl FileSource {
    fn digest(&self) -> Result<String, TaskError> {
        let inputs = Inputs::open(&self.paths, self.reader.clone())?;
        let mut parts: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        for file in inputs.files() {
            // A file that cannot be read is a row that fails, which is no reason to refuse the others.
            let digest = file_sha256(file).unwrap_or_else(|error| error.to_string());
            parts.extend([file.display().to_string(), digest]);
        }
        Ok(fingerprint(&parts.iter().map(String::as_str).collect::<Vec<_>>()))
    }
}

impl Source for FileSource {
    fn rows(&self) -> Result<Rows, TaskError> {
        let inputs = Inputs::open(&self.paths, self.reader.clone())?;
        let field = self.field.clone();
        let limit = usize::try_from(self.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let inputs = inputs.take(limit);
        Ok(Box::new(FileRows { inputs, field }))
    }

    fn total(&self) -> Option<u64> {
        Some(self.total)
    }

    fn sha256(&self) -> Result<Option<String>, TaskError> {
        self.digest().map(Some)
    }
}

struct FileRows {
    inputs: std::iter::Take<Inputs>,
    field: String,
}

impl FileRows {
    fn row(&self, item: Item) -> SourceRow {
        let Item { source, input, warnings, .. } = item;
        SourceRow { name: source, input: input.map(|input| as_field(input, &self.field)), warnings }
    }
}

impl Iterator for FileRows {
    type Item = Result<SourceRow, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.inputs.next()?;
        Some(Ok(self.row(item)))
    }

    /// Documents that are passed over are not read.
    fn nth(&mut self, count: usize) -> Option<Self::Item> {
        let item = self.inputs.nth(count)?;
        Some(Ok(self.row(item)))
    }
}

/// A file of results.
struct FileSink {
    writer: Option<Writer>,
    shape: RowShape,
}

impl Sink for FileSink {
    fn wants_inputs(&self) -> bool {
        self.shape.keeps_input()
    }

    fn write(&mut self, row: OutputRow) -> Result<(), TaskError> {
        let row = self.shape.row(&row.name, row.input.as_ref(), &row.result);
        self.writer.as_mut().map_or(Ok(()), |writer| writer.write(&row))
    }

    fn finish(&mut self) -> Result<(), TaskError> {
        self.writer.take().map_or(Ok(()), Writer::finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_are_inputs_too_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("letters")).unwrap();
        std::fs::write(path("rows.csv"), "text\na\n").unwrap();
        let refused = |out: &str, input: &str| {
            let text = refuse_as_input(&path(out), &[path(input)]).unwrap_err().0;
            text.replace(&format!("{}/", folder.path().display()), "")
        };
        assert_eq!(
            refused("rows.csv", "letters/../rows.csv"),
            "--out: rows.csv is an input too\nhint: name another file for the results"
        );
        assert_eq!(
            refused("letters/out.csv", "letters"),
            "--out: letters/out.csv lies in the folder letters of --in, and would be an input of the next run\n\
             hint: name a file outside of the folder"
        );
        assert!(refuse_as_input(&path("letters.csv"), &[path("letters"), path("rows.csv")]).is_ok());
    }

    #[test]
    fn what_changes_the_answers_of_a_loaded_model_is_told_apart() {
        let plain = LoadArgs::default();
        let exact = LoadArgs { kv_type: kernels::KvElement::from_name("f32"), ..plain.clone() };
        let long = LoadArgs { context: Some(4096), threads: Some(1), ..plain.clone() };
        assert_eq!(loaded_with(&LoadArgs { threads: Some(3), ..plain }), "keys and values i16");
        assert_eq!(loaded_with(&exact), "keys and values f32");
        assert_eq!(loaded_with(&long), "context 4096, keys and values i16");
    }

    #[test]
    fn a_file_that_a_job_wrote_before_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.csv");
        std::fs::write(&out, "").unwrap();
        let ledger = Arc::new(Ledger::open(&folder.path().join("ledger.sqlite")).unwrap());
        let id = {
            let (kind, title, fingerprint) = ("classify".to_owned(), String::new(), String::new());
            let new = NewJob { kind, title, spec: json!({}), fingerprint, input_sha256: None };
            ledger.create(&new).unwrap().id
        };
        let after = |state| {
            ledger.claim(id).unwrap().end(state, None).unwrap();
            goes_on(&ledger.job(id).unwrap(), &out, &WorkArgs::default())
        };
        assert!(after(JobState::Queued).is_err(), "it has written nothing: the file is another's");
        assert!(after(JobState::Done).is_err(), "it is done");
        // A run with --retry-failed that was interrupted, or cancelled, goes on.
        assert!(after(JobState::Queued).unwrap());
        assert!(after(JobState::Cancelled).unwrap());
    }

    #[test]
    fn an_error_has_one_hint() {
        let text = |error: &str| going_on(&TaskError::Data(error.to_owned()), JobId(3)).to_string();
        let further = "what is done stays done; once this is mended, the same command goes on with job 3";
        assert_eq!(text("it is full"), format!("it is full\nhint: {further}"));
        assert_eq!(text("it is full\nhint: make room"), format!("it is full\nhint: make room; {further}"));
    }
}
