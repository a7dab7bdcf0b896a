//! The data directory: who may do what there, how much room there is, and the database in it.

use super::keys;
use super::report::{Report, Verdict};
use crate::config::Config;
use crate::config::value::Size;
use postrider_store::SqliteFindings;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// With less than this the next commits fail: the log may grow by so much before it is taken up.
const NO_ROOM: u64 = 128 << 20;

/// With less than this it is time to look.
const LITTLE_ROOM: u64 = 1 << 30;

pub(super) fn examine(config: &Config, report: &mut Report) {
    let directory = config.data_dir.as_path();
    rights(directory, report);
    room(config, report);
    match SqliteFindings::of(directory) {
        Ok(Some(found)) => database(config, &found, report),
        Ok(None) => {
            report.good("database", format!("there is none yet in {}: the first start makes it", directory.display()));
            keys::examine(config, &Default::default(), None, report);
        }
        Err(error) => report.wrong("database", error.to_string(), "mend what it says; nothing of what is stored was looked at"),
    }
}

/// What is there must belong to whoever runs the server, and be closed to others: the file of keys is in it.
fn rights(directory: &Path, report: &mut Report) {
    let check = "data directory";
    match std::fs::metadata(directory) {
        Ok(found) if !found.is_dir() => {
            report.wrong(check, format!("{} is not a directory", directory.display()), "remove it, or choose another --data-dir");
        }
        Ok(found) => {
            let (mode, shown) = (found.permissions().mode() & 0o777, directory.display());
            let is_ours =
                rustix::fs::access(directory, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
            if let Err(error) = is_ours {
                let mend =
                    "run this as the user who runs the server; it must belong to that user, with mode 0700, on a disk that takes writes";
                report.wrong(check, format!("{shown} cannot be written ({error})"), mend);
            } else {
                let found = format!("{shown}, mode {mode:03o}");
                report.judge(check, (mode & 0o077 == 0, Verdict::Warning), found, format!("close it to others: chmod 700 {shown}"));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report.good(check, format!("{} is not there yet: the first start makes it", directory.display()));
        }
        Err(error) => {
            let mend = "what is above it must be open to the user who runs the server";
            report.wrong(check, format!("{} cannot be looked at ({error})", directory.display()), mend);
        }
    }
}

/// How much room the disk has, where the directory is or will be.
fn room(config: &Config, report: &mut Report) {
    let absolute = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let Some(there) = absolute.ancestors().find(|path| path.exists()) else { return };
    let check = "disk";
    let free = match rustix::fs::statvfs(there) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => return report.warn(check, format!("its room is not known ({error})"), "look at it with df"),
    };
    let found = format!("{} MiB are free", free >> 20);
    if free < NO_ROOM {
        return report.wrong(check, found, "free some space: publishing is refused when there is none");
    }
    let taken = ["postrider.db", "postrider.db-wal"].iter().filter_map(|name| config.data_dir.join(name).metadata().ok());
    let taken: u64 = taken.map(|file| file.len()).sum();
    match config.max_store_bytes {
        Some(Size(limit)) if limit.saturating_sub(taken) > free => {
            let mend = "lower --max-store-bytes to what the disk has, or give it more";
            report.warn(check, format!("{found}, fewer than the store may still take"), mend);
        }
        _ => report.judge(
            check,
            (free >= LITTLE_ROOM, Verdict::Warning),
            found,
            "free some space, or bound the store with --max-store-bytes",
        ),
    }
}

fn database(config: &Config, found: &SqliteFindings, report: &mut Report) {
    let file = found.file.display();
    if found.schema > found.known {
        let shown = format!("{file} was made by a newer postrider (schema {}, this one knows {})", found.schema, found.known);
        return report.wrong("schema", shown, "run that release or a later one");
    }
    if found.schema < found.known {
        let shown = format!("{file} has schema {}, and this release wants {}", found.schema, found.known);
        let mend = "postrider migrate brings it up to date, and so does the next start of the server";
        return report.warn("schema", shown, mend);
    }
    report.good("schema", format!("{}, which is up to date", found.schema));
    report.good("server", if found.is_owned { "one is running on this directory" } else { "none is running on this directory" });
    match found.configuration() {
        Ok(stored) => {
            report.good("database", format!("{file} can be read"));
            keys::examine(config, &stored, None, report);
        }
        Err(error) => {
            let shown = format!("{error} ({})", error.cause);
            report.wrong("database", shown, "mend what it says, or restore the data directory from a backup");
        }
    }
}
