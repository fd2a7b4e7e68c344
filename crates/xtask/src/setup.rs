//! What has to be on the machine before anything is built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::kafka;
use crate::run::{self, Outcome, Program};

/// The release of cargo-deny that `ci` uses.
const CARGO_DENY: &str = "0.20.2";

/// Installs everything that `ci` needs.
pub(crate) fn everything() -> Outcome {
    for_tests()?;
    cargo_deny().map(|_| ())
}

/// What the test suite needs. Rust itself comes through `rust-toolchain.toml`.
pub(crate) fn for_tests() -> Outcome {
    let broker = if kafka::given().is_none() { BROKER } else { &[] };
    provide(&[BUILD, broker].concat())?;
    if kafka::given().is_none() {
        kafka::fetch()?;
    }
    run::cargo(["fetch", "--locked"]).checked()
}

/// What is needed to build, without the tests' broker.
pub(crate) fn for_build() -> Outcome {
    provide(BUILD)?;
    run::cargo(["fetch", "--locked"]).checked()
}

/// What `bench --check` needs.
pub(crate) fn for_counting() -> Outcome {
    provide(&[BUILD, COUNTING].concat())
}

/// What `kafka up` needs.
pub(crate) fn for_broker() -> Outcome {
    provide(BROKER)
}

/// What the benchmark beside the peers needs, its broker included.
pub(crate) fn for_peers() -> Outcome {
    provide(&[BUILD, &[JAVA], PEERS].concat())
}

/// Something that has to be on the machine.
#[derive(Clone, Copy)]
struct Need {
    name: &'static str,
    found: fn() -> bool,
    /// The Debian packages that bring it; of several in one entry the first that this release has.
    packages: &'static [&'static [&'static str]],
}

/// zstd, OpenSSL and librdkafka are compiled from source.
const BUILD: &[Need] = &[
    Need {
        name: "a C compiler",
        found: || compiler("CC", &["cc", "gcc", "clang"]),
        packages: &[&["gcc"], &["libc6-dev"]],
    },
    Need {
        name: "a C++ compiler",
        found: || compiler("CXX", &["c++", "g++", "clang++"]),
        packages: &[&["g++"]],
    },
    Need { name: "make", found: || runs("make", &["--version"]), packages: &[&["make"]] },
    // What minimal installations of Perl lack, and OpenSSL's configure script wants.
    Need {
        name: "perl",
        found: || runs("perl", &["-MFindBin", "-MIPC::Cmd", "-e1"]),
        packages: &[&["perl"]],
    },
    Need { name: "bash", found: || runs("bash", &["--version"]), packages: &[&["bash"]] },
];

const JAVA: Need = Need {
    name: "Java 17 or newer",
    found: || java().is_some(),
    packages: &[&["openjdk-17-jre-headless", "openjdk-21-jre-headless", "default-jre-headless"]],
};

const BROKER: &[Need] = &[
    JAVA,
    Need {
        name: "Maven (mvn)",
        found: || kafka::has_jars() || runs("mvn", &["--version"]),
        packages: &[&["maven"]],
    },
];

const COUNTING: &[Need] = &[Need {
    name: "valgrind",
    found: || runs("valgrind", &["--version"]),
    packages: &[&["valgrind"], &["libc6-dbg"]],
}];

const PEERS: &[Need] = &[
    Need {
        name: "a Java compiler, 17 or newer",
        found: || {
            Program::new("javac")
                .args(["--version"])
                .output()
                .is_ok_and(|said| javac_release(&said) >= Some(17))
        },
        packages: &[&["openjdk-17-jdk-headless", "openjdk-21-jdk-headless", "default-jdk-headless"]],
    },
    Need { name: "Maven (mvn)", found: || runs("mvn", &["--version"]), packages: &[&["maven"]] },
    Need {
        name: "Python 3 with venv and pip",
        found: || runs("python3", &["-c", "import ensurepip, venv"]),
        packages: &[&["python3"], &["python3-venv"]],
    },
    Need { name: "taskset", found: || runs("taskset", &["--version"]), packages: &[&["util-linux"]] },
];

/// Makes sure that everything is there: installs it where that is ours to do (root on Debian, as in a
/// container), else names all that is missing at once.
fn provide(needs: &[Need]) -> Outcome {
    let missing = || needs.iter().filter(|need| !(need.found)()).copied().collect::<Vec<_>>();
    let absent = missing();
    let root = || Program::new("id").args(["-u"]).output().is_ok_and(|id| id.trim() == "0");
    if absent.is_empty() {
        return Ok(());
    }
    if Path::new(APT_GET).exists() && root() {
        install(&absent)?;
    }
    let absent = missing();
    if absent.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = absent.iter().map(|need| need.name).collect();
    Err(format!(
        "missing: {}. On Debian or Ubuntu: sudo apt-get {} {}",
        names.join(", "),
        INSTALL.join(" "),
        packages(&absent, has_candidate).join(" ")
    ))
}

fn install(needs: &[Need]) -> Outcome {
    // One list of packages that cannot be read is no reason not to try with the others.
    if let Err(why) = told(Command::new(APT_GET).arg("update")) {
        eprintln!("{why}");
    }
    let mut install = Command::new(APT_GET);
    install.args(INSTALL).args(packages(needs, has_candidate)).env("DEBIAN_FRONTEND", "noninteractive");
    told(&mut install)
}

const APT_GET: &str = "/usr/bin/apt-get";
const INSTALL: &[&str] = &["install", "-y", "--no-install-recommends"];

fn packages(needs: &[Need], available: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let first = |names: &&[&'static str]| {
        names.iter().copied().find(|name| names.len() == 1 || available(name)).or(names.last().copied())
    };
    needs.iter().flat_map(|need| need.packages).filter_map(first).collect()
}

fn has_candidate(package: &str) -> bool {
    runs(APT_GET, &["install", "--simulate", "-y", package])
}

fn compiler(variable: &str, names: &[&str]) -> bool {
    match std::env::var(variable) {
        Ok(chosen) => runs(&chosen, &["--version"]),
        Err(_) => names.iter().any(|name| runs(name, &["--version"])),
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    Program::new(program).args(arguments).output().is_ok()
}

/// The first Java that can run the broker.
pub(crate) fn java() -> Option<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin").join("java"));
    home.into_iter().chain([PathBuf::from("java")]).find(|java| {
        let asked = Command::new(java).arg("-version").stdin(Stdio::null()).output();
        asked.is_ok_and(|said| java_release(&String::from_utf8_lossy(&said.stderr)) >= Some(17))
    })
}

/// The release in what `java -version` says: `openjdk version "17.0.15" 2025-04-15`. Other lines may come
/// first.
fn java_release(said: &str) -> Option<u32> {
    let version = said.split_once("version \"")?.1;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The release in what `javac --version` says: `javac 17.0.15`.
fn javac_release(said: &str) -> Option<u32> {
    said.lines().find_map(|line| {
        line.strip_prefix("javac ")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    })
}

/// Runs a program with all it says on standard error: the standard output is for what was asked for.
pub(crate) fn told(command: &mut Command) -> Outcome {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let shown = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    eprintln!("$ {shown}");
    match command.stdin(Stdio::null()).stdout(std::io::stderr()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` failed ({status})")),
        Err(error) => Err(format!("`{shown}` could not be started: {error}")),
    }
}

/// The path of cargo-deny in the pinned release: the user's own if it is that one, else one that is built
/// once into target/tools. Debug profile: it starts no slower and compiles in half the time.
pub(crate) fn cargo_deny() -> Result<PathBuf, String> {
    let ours = run::tools().join("bin").join("cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), ours.clone()] {
        let version = Program::new(&candidate.to_string_lossy()).args(["--version"]).output();
        if version.is_ok_and(|text| text.trim().ends_with(CARGO_DENY)) {
            return Ok(candidate);
        }
    }
    run::cargo(["install", "--locked", "--quiet", "--debug", "--force", "--root"])
        .args([run::tools()])
        .args([format!("cargo-deny@{CARGO_DENY}")])
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .checked()?;
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_of_java_is_the_first_number_of_its_version() {
        let noted = "Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version \"17.0.15\" 2025-04-15\nmore";
        assert_eq!(java_release(noted), Some(17));
        assert_eq!(java_release("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(java_release("openjdk version \"26-ea\" 2026-03-17"), Some(26));
        assert_eq!(java_release("java version \"1.8.0_392\""), Some(1));
        assert_eq!(java_release("No Java runtime present"), None);
        assert_eq!(javac_release("javac 17.0.15\n"), Some(17));
        assert_eq!(javac_release("javac: not found"), None);
    }

    #[test]
    fn of_the_packages_of_one_entry_the_first_available_is_taken() {
        let names = |available: &[&str]| packages(BROKER, |name| available.contains(&name));
        assert_eq!(names(&["openjdk-17-jre-headless"]), ["openjdk-17-jre-headless", "maven"]);
        assert_eq!(names(&["openjdk-21-jre-headless"]), ["openjdk-21-jre-headless", "maven"]);
        assert_eq!(names(&[]), ["default-jre-headless", "maven"]);
    }
}
