//! What the figures were measured on.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::{native::Prepared, rivals};

/// The machine, the compiler, the versions and the day.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) cpu: String,
    /// Processors that this process may use.
    pub(crate) cpus_usable: usize,
    /// Kernel and its release.
    pub(crate) kernel: String,
    /// The compiler that built the harness.
    pub(crate) rustc: String,
    /// The compiler that built rivals in C++, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpp: Option<String>,
    /// Packages under measurement with their versions.
    pub(crate) versions: Vec<(String, String)>,
    /// Rivals that are not there, with the reason.
    pub(crate) absent: Vec<(String, String)>,
    /// The day of the run in UTC, as year-month-day.
    pub(crate) date: String,
}

impl Machine {
    /// This machine, now.
    pub(crate) fn here() -> Machine {
        let version = |rival: &&rivals::Rival| {
            Some((rival.package?.to_string(), rival.version().unwrap_or("unknown").to_string()))
        };
        Machine {
            cpu: cpu_model().unwrap_or_else(|| std::env::consts::ARCH.into()),
            cpus_usable: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel(),
            rustc: env!("BENCH_RUSTC").into(),
            cpp: None,
            versions: rivals::ALL.iter().filter_map(version).collect(),
            absent: Vec::new(),
            date: today(),
        }
    }

    /// Adds what is known about rivals that are programs of their own.
    pub(crate) fn with(mut self, prepared: Prepared) -> Machine {
        self.cpp = prepared.compiler;
        self.versions.extend(prepared.versions);
        self.absent = prepared.absent.into_iter().map(|absent| (absent.name.into(), absent.reason)).collect();
        self
    }

    /// Lines that describe it: a label and what it says.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let versions: Vec<_> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let mut lines = vec![
            ("date", self.date.clone()),
            ("machine", format!("{}, {} usable CPUs", self.cpu, self.cpus_usable)),
            ("kernel", self.kernel.clone()),
            (
                "compiler",
                [Some(&self.rustc), self.cpp.as_ref()]
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join("; "),
            ),
            ("versions", versions.join(", ")),
        ];
        if !self.absent.is_empty() {
            let absent: Vec<_> =
                self.absent.iter().map(|(name, reason)| format!("{name} ({reason})")).collect();
            lines.push(("absent", absent.join("; ")));
        }
        lines
    }
}

fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {}", std::env::consts::OS, release.trim()).trim().to_string()
}

fn today() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil_date((since_epoch.as_secs() / 86_400) as i64);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The date in the Gregorian calendar, so many days after 1970-01-01.
///
/// Counts from 1 March of year 0 in eras of 400 years, so that the leap day is a year's last.
fn civil_date(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
