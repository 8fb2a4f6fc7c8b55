//! The accounts file under bad circumstances: killed writers, many writers, folders and disks that take nothing.

use crate::commands::{run, sqlveil, token, with_password};
use crate::stage;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const CREATE: [&str; 9] =
    ["token", "create", "--display-name", "x", "--validity-seconds", "3600", "--format", "json", "--config"];

fn tokens(config: &Path) -> Vec<String> {
    let list = with_password(config, &["token", "list", "--format", "json"], None).fine();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    list.as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_killed_leaves_the_old_file_or_the_new_one() {
    let stage = stage().await;
    let config = stage.write();
    let mut shown = Vec::new();
    let mut killed = 0;
    for after in 0..40u64 {
        let mut child = sqlveil().args(CREATE).arg(&config).spawn().unwrap();
        // From before it has read anything to after it has written everything.
        std::thread::sleep(Duration::from_micros(after * 1500));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        killed += usize::from(!output.status.success());
        if let Ok(made) = serde_json::from_slice::<serde_json::Value>(&output.stdout) {
            shown.push(made["id"].as_str().unwrap().to_owned());
        }
        // Whole, whichever it is.
        tokens(&config);
    }
    assert!(killed > 0, "nobody was killed");
    let kept = tokens(&config);
    assert!(shown.iter().all(|id| kept.contains(id)), "a secret was shown of a token that is not there");
    // The next writer is not kept out, and clears away what was left.
    with_password(&config, &["user", "disable", "bob"], None).fine();
    let left =
        std::fs::read_dir(config.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.ends_with(".new")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_dies_between_writing_and_renaming_changes_nothing() {
    let stage = stage().await;
    let config = stage.write();
    with_password(&config, &["user", "disable", "bob"], None).fine();
    let file = config.with_file_name("accounts.json");
    let before = std::fs::read(&file).unwrap();
    let folder = config.parent().unwrap().to_owned();
    // What a writer that died before its rename leaves: a lock nobody holds, a new file nobody looks at.
    std::fs::write(folder.join(".accounts.json-abc.new"), &before[..before.len() / 2]).unwrap();
    assert!(folder.join(".accounts.json.lock").exists());
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let listed = with_password(&config, &["user", "list"], None).fine();
    assert!(listed.lines().any(|line| line.starts_with("bob ") && line.contains("disabled")), "{listed}");
    with_password(&config, &["user", "enable", "bob"], None).fine();
    assert!(!folder.join(".accounts.json-abc.new").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_at_once_lose_nothing() {
    let stage = stage().await;
    let config = stage.write();
    let children: Vec<_> = (0..12).map(|_| sqlveil().args(CREATE).arg(&config).spawn().unwrap()).collect();
    let mut made = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let token: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        made.push(token["id"].as_str().unwrap().to_owned());
    }
    let mut kept = tokens(&config);
    kept.sort();
    made.sort();
    assert_eq!(kept, made);
}

/// The binary where anybody may run it, since the folder of the build may be private.
fn program(folder: &Path) -> PathBuf {
    let copy = folder.join("sqlveil");
    std::fs::copy(env!("CARGO_BIN_EXE_sqlveil"), &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

fn root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_or_a_disk_that_takes_nothing_is_told_and_the_old_file_stays() {
    let stage = stage().await;
    let config = stage.write();
    let folder = config.parent().unwrap().to_owned();
    let made: serde_json::Value =
        serde_json::from_slice(&sqlveil().args(CREATE).arg(&config).output().unwrap().stdout).unwrap();
    let id = made["id"].as_str().unwrap().to_owned();
    let file = config.with_file_name("accounts.json");
    let before = std::fs::read(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // No room: not a byte may be written to any file.
    let line = format!(
        "trap '' XFSZ; ulimit -f 0; exec '{}' token revoke {id} --config '{}'",
        env!("CARGO_BIN_EXE_sqlveil"),
        config.display()
    );
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing is changed"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), before);

    // A folder that may be read only; root may write everywhere, so somebody else tries.
    let program = program(&folder);
    let mode = |path: &Path, mode: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    for name in ["config.yaml", "identity.yaml", "accounts.json", ".accounts.json.lock"] {
        mode(&folder.join(name), 0o444);
    }
    mode(&folder, 0o555);
    let mut command = Command::new(&program);
    command.args(["token", "revoke", &id, "--config"]).arg(&config).stdin(Stdio::null());
    if root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    mode(&folder, 0o755);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing is changed") && said.contains("13)"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

/// Commands are run as root, in a folder that may be the proxy's: it must not be able to choose a file that root gives it.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_leads_elsewhere_is_not_followed() {
    use std::os::unix::fs::{MetadataExt as _, chown, symlink};
    let stage = stage().await;
    let config = stage.write();
    let folder = config.parent().unwrap().to_owned();
    if root() {
        chown(&folder, Some(65534), Some(65534)).unwrap();
    }
    let lock = folder.join(".accounts.json.lock");
    let (target, new) = (folder.join("shadow"), folder.join("nologin"));
    std::fs::write(&target, "secret").unwrap();
    let owner = std::fs::metadata(&target).unwrap().uid();
    for target in [&target, &new] {
        symlink(target, &lock).unwrap();
        let said = with_password(&config, &["user", "disable", "bob"], None).wrong();
        assert!(said.contains("nothing is changed") && said.contains(".lock"), "{said}");
        std::fs::remove_file(&lock).unwrap();
    }
    assert_eq!(std::fs::metadata(&target).unwrap().uid(), owner, "it was given away");
    assert!(!new.exists(), "it was made");
    // One nobody can write to its end is not waited for.
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    with_password(&config, &["user", "disable", "bob"], None).wrong();
    std::fs::remove_file(&lock).unwrap();
    with_password(&config, &["user", "disable", "bob"], None).fine();
    for name in [".accounts.json.lock", "accounts.json"] {
        let made = std::fs::metadata(folder.join(name)).unwrap();
        assert_eq!((made.uid(), made.mode() & 0o777), (if root() { 65534 } else { owner }, 0o600), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_others_may_read_or_write_is_told() {
    let stage = stage().await;
    let config = stage.write();
    with_password(&config, &["user", "disable", "bob"], None).fine();
    let file = config.with_file_name("accounts.json");
    for (mode, told) in [(0o644, "may be read by everybody"), (0o602, "may be written by everybody")] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let checked = with_password(&config, &["check"], None);
        assert!(checked.ok && checked.out.contains(told), "{checked:?}");
        assert!(with_password(&config, &["user", "list"], None).err.contains(told));
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let checked = with_password(&config, &["check"], None);
    assert!(!checked.out.contains("everybody"), "{checked:?}");
}

/// A folder that may be written and not listed: nothing that was done is denied.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_not_said_to_be_undone() {
    use std::os::unix::fs::chown;
    let stage = stage().await;
    let config = stage.write();
    let folder = config.parent().unwrap().to_owned();
    let program = program(&folder);
    if root() {
        for entry in std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
            chown(entry, Some(65534), Some(65534)).unwrap();
        }
        chown(&folder, Some(65534), Some(65534)).unwrap();
    }
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o300)).unwrap();
    let mut command = Command::new(&program);
    command.args(["user", "disable", "bob", "--config"]).arg(&config).stdin(Stdio::null());
    if root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Lines are broken where the folder's name leaves room.
    let said = String::from_utf8_lossy(&output.stderr).replace('│', " ");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.status.success() && said.contains("power cut") && !said.contains("nothing is changed"), "{said}");
    assert!(std::fs::read_to_string(config.with_file_name("accounts.json")).unwrap().contains("bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_named_has_to_be_there_and_one_that_is_broken_is_not_overwritten() {
    let named = stage().await.config("accounts: kept/people.json");
    let config = named.write();
    let checked = with_password(&config, &["check"], None);
    assert!(!checked.ok && checked.out.contains("people.json") && checked.out.contains("is not there"), "{checked:?}");
    // The folder is missing too.
    let missing = with_password(&config, &["user", "disable", "bob"], None).wrong();
    assert!(missing.contains("nothing is changed"), "{missing}");
    std::fs::create_dir(config.with_file_name("kept")).unwrap();
    with_password(&config, &["user", "disable", "bob"], None).fine();
    let running = named.start().await;
    assert!(running.try_client("bob", crate::support::PASSWORD, running.database()).await.is_err());
    let session = crate::sessions::idle(&running, "ana", crate::support::PASSWORD).await;

    // Broken, then gone: told, the set in force stays, and no command makes it worse.
    let file = running.folder().join("kept/people.json");
    std::fs::write(&file, "{\"users\": [").unwrap();
    assert!(matches!(running.proxy().reload_and_wait().await, sqlveil::world::Outcome::Refused(_)));
    assert!(run(&running, &["user", "enable", "bob"]).wrong().contains("it ends in the middle"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"users\": [");
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(running.proxy().reload_and_wait().await, sqlveil::world::Outcome::Refused(_)));
    assert!(
        running.try_client("bob", crate::support::PASSWORD, running.database()).await.is_err(),
        "he stays disabled"
    );
    assert!(session.is_there());
    token(&running, &[]);
}
