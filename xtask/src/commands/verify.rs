//! `cargo xtask verify`: the proofs that are too heavy for every run, in steps that can be run alone.
//!
//! Peers are installed at pinned versions (`tools/reference/requirements.txt`) into `target/verify`, and asked live: what
//! is committed of them must come out again. Needs a network, `python3`, 8 GB of memory and a few gigabytes of disk, and an
//! hour and a half on two cores, a part of it for compiling llama.cpp.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Holds the vocabularies and templates that llama.cpp tests itself with.
const ARCHIVE: &str = "llama_cpp_python-0.3.36";
const ARCHIVE_OF: &str = "llama-cpp-python==0.3.36";

/// The real templates in it that are of our families.
const TEMPLATES: [&str; 7] = [
    "Qwen-Qwen3-0.6B.jinja",
    "Qwen-Qwen2.5-7B-Instruct.jinja",
    "google-gemma-2-2b-it.jinja",
    "meta-llama-Llama-3.1-8B-Instruct.jinja",
    "meta-llama-Llama-3.2-3B-Instruct.jinja",
    "microsoft-Phi-3.5-mini-instruct.jinja",
    "mistralai-Mistral-Nemo-Instruct-2407.jinja",
];

/// The model that MMLU is compared on.
const MMLU_MODEL: &str = "smollm2:135m";

/// Which steps to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these, in this order; by default all
    #[arg(value_name = "STEP")]
    steps: Vec<Step>,
    /// The folder with the published files of MMLU, for the step `mmlu`
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Step {
    /// Pulls every model of tests/real_models.json, and the embedding model
    Models,
    /// All tests of the binary and of the tokenizer with these models, in release: real clients with every model, 200
    /// mixed requests, ten minutes of hostile traffic, evaluations killed again and again
    Tests,
    /// Whether streams keep their pace beside a long prompt and beside a flood of refused requests, on an idle machine
    Steady,
    /// llama.cpp's own vocabulary tests, and templates as transformers renders them now
    Texts,
    /// Whether the fuzz targets still compile
    Fuzz,
    /// Text to ids at least as fast as the `tokenizers` library
    Speed,
    /// Mean log-probabilities of all models, computed again by transformers
    Figures,
    /// Token ids and mean log-probabilities of all models, computed again by llama.cpp, which is compiled first
    LlamaCpp,
    /// MMLU, 500 questions of --data: the same choices and log-likelihoods as lm-eval through `/v1/completions`. Not among
    /// those that run by default, as the files are not ours
    Mmlu,
}

const BY_DEFAULT: [Step; 8] =
    [Step::Models, Step::Tests, Step::Steady, Step::Texts, Step::Fuzz, Step::Speed, Step::Figures, Step::LlamaCpp];

/// Runs the steps.
///
/// # Errors
/// What a step needs cannot be had, or it fails.
pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let place =
        Place { root: root.to_owned(), home: root.join("target/verify-home"), work: root.join("target/verify") };
    std::fs::create_dir_all(&place.work)?;
    let steps = if args.steps.is_empty() { &BY_DEFAULT[..] } else { &args.steps };
    for step in steps {
        let began = Instant::now();
        super::say(&format!("== {step:?}"));
        match step {
            Step::Models => place.pull_models(),
            Step::Tests => place.cargo(&["test", "--package", "bantam", "--package", "tokenizer"], &[]),
            Step::Steady => {
                let alone = ["--nocapture", "--test-threads", "1", "serving::steady"];
                let test = ["test", "--package", "bantam", "--test", "cli", "--"];
                place.cargo(&[&test, &alone[..]].concat(), &[("BANTAM_ALONE", "1")])
            }
            Step::Texts => place.texts(),
            Step::Figures => place.figures("transformers", &["torch", "transformers", "gguf", "accelerate"]),
            Step::Fuzz => place.cargo(&["check", "--manifest-path", "fuzz/Cargo.toml"], &[]),
            Step::Speed => place.cargo(&["bench", "--package", "tokenizer", "--bench", "encode"], &[]),
            Step::LlamaCpp => place.llama_cpp(),
            Step::Mmlu => place.mmlu(args.data.as_deref()),
        }
        .with_context(|| format!("{step:?}"))?;
        super::say(&format!("== {step:?}: passed in {} s", began.elapsed().as_secs()));
    }
    super::say("== verified");
    Ok(ExitCode::SUCCESS)
}

struct Place {
    root: PathBuf,
    /// The store with the models.
    home: PathBuf,
    /// Peers, and what they write.
    work: PathBuf,
}

impl Place {
    fn pull_models(&self) -> anyhow::Result<()> {
        let catalogs = self.home.join("catalog.d");
        std::fs::create_dir_all(&catalogs)?;
        for entry in std::fs::read_dir(self.root.join("tests/catalog.d"))? {
            let entry = entry?;
            std::fs::copy(entry.path(), catalogs.join(entry.file_name()))?;
        }
        // The embedding model has figures of its own, beside its tests.
        let models = self.models()?.into_iter().map(|(model, _)| model).chain(["all-minilm".to_owned()]);
        for model in models {
            super::say(&model);
            self.cargo(&["run", "--quiet", "--package", "bantam", "--", "pull", &model], &[])?;
        }
        Ok(())
    }

    /// Names and digests of tests/real_models.json.
    fn models(&self) -> anyhow::Result<Vec<(String, String)>> {
        let path = self.root.join("tests/real_models.json");
        let figures: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let figures = figures.as_object().context("tests/real_models.json: expected an object")?;
        let row = |(name, entry): (&String, &serde_json::Value)| {
            let sha256 = entry["sha256"].as_str().with_context(|| format!("{name}: expected a sha256"))?;
            Ok((name.clone(), sha256.to_owned()))
        };
        figures.iter().map(row).collect()
    }

    /// `NAME=FILE` of the pulled models that are asked for; the files end in `.gguf`, as the peers expect.
    fn files(&self, wanted: &dyn Fn(&str) -> bool) -> anyhow::Result<Vec<String>> {
        let mut files = Vec::new();
        for (name, sha256) in self.models()?.into_iter().filter(|(name, _)| wanted(name)) {
            let blob = self.home.join("blobs").join(format!("sha256-{sha256}"));
            let file = self.work.join(format!("{}.gguf", name.replace(':', "-")));
            if !file.exists() {
                std::fs::hard_link(&blob, &file)
                    .with_context(|| format!("{}\nhint: cargo xtask verify models", blob.display()))?;
            }
            files.push(format!("{name}={}", file.display()));
        }
        Ok(files)
    }

    fn texts(&self) -> anyhow::Result<()> {
        let archive = self.archive()?;
        let llama_cpp = archive.join("vendor/llama.cpp/models");
        let folder = self.work.join("templates");
        std::fs::create_dir_all(&folder)?;
        for name in TEMPLATES {
            let template = llama_cpp.join("templates").join(name);
            std::fs::copy(&template, folder.join(name)).with_context(|| template.display().to_string())?;
        }
        // The packages with templates are unpacked by the tests.
        self.cargo(&["test", "--package", "tokenizer", "--test", "tokenizer", "packages_templates"], &[])?;
        let python = self.python(&["transformers", "jinja2", "gguf"])?;
        let script = "tools/reference/template_goldens.py";
        let files = self.files(&|name| name != "gemma3:270m-base")?;
        self.command(&python, &[&[script, "--check"], strs(&files).as_slice()].concat(), &[])?;
        let goldens = self.work.join("template_goldens.json");
        let (goldens, folder) = (goldens.display().to_string(), folder.display().to_string());
        let constants = archive.join("llama_cpp/llama_chat_format.py").display().to_string();
        let against = ["--against", &folder, "--constants", &constants, "--output", &goldens];
        self.command(&python, &[&[script], &against[..]].concat(), &[])?;
        let by_hand = ["test", "--package", "tokenizer", "--features", "by-hand", "--test", "tokenizer"];
        let vocabularies = llama_cpp.display().to_string();
        self.cargo(
            &[&by_hand[..], &["--", "_of_a_folder_", "vocabulary_tests"]].concat(),
            &[("BANTAM_SHARED_TOKENIZERS", &vocabularies), ("BANTAM_TEMPLATE_GOLDENS", &goldens)],
        )
    }

    /// The source archive of llama-cpp-python, unpacked; nothing in it is built.
    fn archive(&self) -> anyhow::Result<PathBuf> {
        let folder = self.work.join(ARCHIVE);
        if !folder.join("vendor/llama.cpp/models").exists() {
            let python = self.python(&[])?;
            let work = self.work.display().to_string();
            let download = ["-m", "pip", "download", "--quiet", "--dest", &work];
            let source = ["--no-deps", "--no-binary", "llama-cpp-python", ARCHIVE_OF];
            self.command(&python, &[&download[..], &source[..]].concat(), &[])?;
            let archive = self.work.join(format!("{ARCHIVE}.tar.gz")).display().to_string();
            self.command(Path::new("tar"), &["xzf", &archive, "-C", &work], &[])?;
        }
        Ok(folder)
    }

    fn figures(&self, peer: &str, packages: &[&str]) -> anyhow::Result<()> {
        let python = self.python(packages)?;
        let files = self.files(&|_| true)?;
        let script = ["tools/reference/real_models.py", "--check", "--only", peer];
        self.command(&python, &[&script[..], strs(&files).as_slice()].concat(), &[])
    }

    fn llama_cpp(&self) -> anyhow::Result<()> {
        let archive = self.archive()?.display().to_string();
        self.figures("llama.cpp", &["numpy", &archive])
    }

    fn mmlu(&self, data: Option<&Path>) -> anyhow::Result<()> {
        let data = data.context("the files of MMLU are needed\nhint: cargo xtask verify mmlu --data DIR")?;
        let data = data.canonicalize().with_context(|| data.display().to_string())?.display().to_string();
        self.cargo(&["build", "--package", "bantam"], &[])?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from);
        let bantam = target.join("release/bantam").display().to_string();
        let scratch = self.work.join("mmlu").display().to_string();
        let home = self.home.display().to_string();
        let offline = [("BANTAM_HOME", home.as_str()), ("HF_HUB_OFFLINE", "1"), ("HF_DATASETS_OFFLINE", "1")];
        let python = self.python(&["lm-eval[api]"])?;
        let script = ["tools/reference/mmlu_lm_eval.py", &bantam, MMLU_MODEL, &data, &scratch];
        self.command(&python, &script, &[&offline[..], &[("OPENAI_API_KEY", "none")]].concat())
    }

    /// The interpreter of an environment that has these packages, at the versions of requirements.txt.
    fn python(&self, packages: &[&str]) -> anyhow::Result<PathBuf> {
        let environment = self.work.join("venv");
        let python = environment.join("bin/python");
        if !python.exists() {
            self.command(Path::new("python3"), &["-m", "venv", &environment.display().to_string()], &[])?;
        }
        if !packages.is_empty() {
            let pip = ["-m", "pip", "install", "--quiet", "--constraint", "tools/reference/requirements.txt"];
            self.command(&python, &[&pip[..], packages].concat(), &[])?;
        }
        Ok(python)
    }

    fn cargo(&self, arguments: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let home = self.home.display().to_string();
        let ours = [("BANTAM_HOME", home.as_str()), ("BANTAM_CI", "1"), ("BANTAM_VERIFY", "1")];
        let (command, rest) = arguments.split_first().context("no command for cargo; this is a bug")?;
        // A bench is optimised anyway, and does not know the flag.
        let release: &[&str] = if *command == "bench" { &[] } else { &["--release"] };
        self.command(Path::new(&cargo), &[&[*command], release, rest].concat(), &[&ours, variables].concat())
    }

    fn command(&self, program: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.root).envs(variables.iter().copied());
        let status = command.status().with_context(|| program.display().to_string())?;
        if !status.success() {
            bail!("{} {} failed: {status}", program.display(), arguments.join(" "));
        }
        Ok(())
    }
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
