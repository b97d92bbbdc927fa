//! The machine that runs the benchmark.

use std::fs;

use serde::Serialize;

/// The machine's properties that a reader needs to compare figures. Contains neither host name nor
/// address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// The number of threads that can run at once.
    pub processors: usize,
    /// Memory in bytes; 0 if unknown.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// Describes the machine that this process runs on.
    #[must_use]
    pub fn this() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let unknown = || "unknown".to_owned();
        Self {
            processor: value_of(&cpus, "model name").map_or_else(unknown, str::to_owned),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory("MemTotal").unwrap_or(0),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |text| text.trim().to_owned()),
        }
    }

    /// Bytes of memory that can be used without swapping; `None` if the system does not report it.
    #[must_use]
    pub fn available_memory() -> Option<u64> {
        memory("MemAvailable")
    }
}

fn memory(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes = value_of(&text, name)?.strip_suffix(" kB")?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The value of the first `name: value` line.
fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name() {
        let text = "processor\t: 0\nmodel name\t: A: fast one\nmodel name\t: another\n";
        assert_eq!(value_of(text, "model name"), Some("A: fast one"));
        assert_eq!(value_of(text, "flags"), None);
        assert!(Machine::this().processors >= 1);
    }
}
