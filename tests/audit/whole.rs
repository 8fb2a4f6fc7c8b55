//! Nothing of a trail can be missing or changed without being noticed.

use crate::process::Process;
use crate::support::{PASSWORD, Stage};
use crate::{database, folder, lines, sqlveil, stage, stop};
use rand::Rng;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::NoTls;

async fn connect(port: u16, database: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user("ana").password(PASSWORD).dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A stopped proxy's trail of three files and some records, and the configuration.
async fn trail() -> (crate::support::Running, PathBuf, String) {
    let mut running = stage(", rotate: {size: 64kB}").await.start().await;
    let client = running.client("ana").await;
    while fs::read_dir(folder(running.folder())).unwrap().count() < 3 {
        for _ in 0..50 {
            client.batch_execute("SELECT id FROM open LIMIT 1").await.unwrap();
        }
    }
    drop(client);
    running.stop().await;
    let config = running.config_file().display().to_string();
    let folder = folder(running.folder());
    (running, folder, config)
}

/// Starts a proxy and stops it.
fn run(config: &Path) -> Process {
    let mut process = Process::start(config);
    stop(&mut process);
    process
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_or_taken_away_is_noticed() {
    let (_running, folder, config) = trail().await;
    let (status, told) = sqlveil(&["audit", "verify", "--config", &config]);
    assert_eq!(status, 0, "{told}");
    assert!(told.contains("no record is missing or changed") && told.contains("ended by its proxy"), "{told}");
    let (status, told) = sqlveil(&["audit", "verify", "--folder", folder.to_str().unwrap()]);
    assert_eq!(status, 0, "{told}");
    assert!(told.contains("seals were not checked"), "{told}");
    let all = files(&folder);
    assert!(all.len() >= 3);
    let texts: Vec<String> = all.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let restore = || all.iter().zip(&texts).for_each(|(file, text)| fs::write(file, text).unwrap());
    let verify = || sqlveil(&["audit", "verify", "--config", &config]);
    let mut rng = rand::rng();
    // Any byte of any file.
    for _ in 0..40 {
        let at = rng.random_range(0..all.len());
        let mut bytes = texts[at].clone().into_bytes();
        let place = rng.random_range(0..bytes.len());
        bytes[place] = if bytes[place] == b'7' { b'8' } else { b'7' };
        fs::write(&all[at], bytes).unwrap();
        let (status, told) = verify();
        assert_eq!(status, 1, "byte {place} of {:?}: {told}", all[at]);
        restore();
    }
    // Any line of any file: taken away, put twice, or changed places with the next.
    for _ in 0..30 {
        let at = rng.random_range(0..all.len());
        let mut lines: Vec<&str> = texts[at].lines().collect();
        let place = rng.random_range(0..lines.len() - 1);
        match rng.random_range(0..3) {
            0 => drop(lines.remove(place)),
            1 => lines.insert(place, lines[place]),
            _ => lines.swap(place, place + 1),
        }
        fs::write(&all[at], lines.join("\n") + "\n").unwrap();
        let (status, told) = verify();
        assert_eq!(status, 1, "line {place} of {:?}: {told}", all[at]);
        restore();
    }
    // A whole file, in the middle and at the beginning.
    for file in &all[..all.len() - 1] {
        fs::remove_file(file).unwrap();
        let (status, told) = verify();
        assert_eq!(status, 1, "{file:?}: {told}");
        restore();
    }
    // The last file: what is left ends as if its proxy had been killed.
    fs::remove_file(all.last().unwrap()).unwrap();
    let (status, told) = verify();
    assert_eq!(status, 2, "{told}");
    assert!(told.contains("cut behind record"), "{told}");
    restore();
    // Who kept the last hash knows.
    let (_, told) = verify();
    let head = told.split("last hash ").nth(1).unwrap().trim_end().lines().next().unwrap().to_owned();
    fs::remove_file(all.last().unwrap()).unwrap();
    let (status, told) = sqlveil(&["audit", "verify", "--config", &config, "--head", &head]);
    assert_eq!(status, 1, "{told}");
    restore();
    assert_eq!(sqlveil(&["audit", "verify", "--config", &config, "--head", &head]).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_written_anew_does_not_hold_without_the_secret() {
    use sqlveil::audit::line::{Head, Line};
    let (_running, folder, config) = trail().await;
    // Somebody changes a record, and every hash and name of a hash behind it.
    let mut head = Head::default();
    for file in files(&folder) {
        let text = fs::read_to_string(&file).unwrap();
        let mut out = Vec::new();
        for line in text.lines() {
            let hashed = Line::of(line.as_bytes()).unwrap().hashed;
            let members = std::str::from_utf8(hashed).unwrap().split_once(',').unwrap().1;
            let mut members = members.replace("\"user\":\"ana\"", "\"user\":\"eve\"");
            if let Some((before, old)) = members.split_once("\"previous\":\"") {
                let hex: String = head.hash.iter().map(|byte| format!("{byte:02x}")).collect();
                members = format!("{before}\"previous\":\"{hex}{}", &old[64..]);
            }
            head.append(members.as_bytes(), &mut out);
        }
        fs::write(&file, out).unwrap();
    }
    let (status, told) = sqlveil(&["audit", "verify", "--folder", folder.to_str().unwrap()]);
    assert_eq!(status, 0, "hashes alone do not tell: {told}");
    let (status, told) = sqlveil(&["audit", "verify", "--config", &config]);
    assert_eq!(status, 1, "{told}");
    assert!(told.contains("the seal does not hold"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_know_of_each_other() {
    let stage = stage("").await;
    let config = stage.write();
    let trail = folder(config.parent().unwrap());
    for _ in 0..3 {
        run(&config);
    }
    let config = config.display().to_string();
    assert_eq!(sqlveil(&["audit", "verify", "--config", &config]).0, 0);
    let all = files(&trail);
    assert_eq!(all.len(), 3);
    // A whole run is taken away, and the end of one that was followed.
    let middle = fs::read_to_string(&all[1]).unwrap();
    fs::remove_file(&all[1]).unwrap();
    let (status, told) = sqlveil(&["audit", "verify", "--config", &config]);
    assert!(status == 1 && told.contains("which is missing"), "{told}");
    let shorter: Vec<&str> = middle.lines().collect();
    fs::write(&all[1], shorter[..shorter.len() - 1].join("\n") + "\n").unwrap();
    let (status, told) = sqlveil(&["audit", "verify", "--config", &config]);
    assert!(status == 1 && told.contains("when chain"), "{told}");
}

/// A file of a chain whose lines are tied together and sealed by nobody.
fn forge(folder: &Path, chain: &str, members: &[String]) {
    let (mut head, mut out) = (sqlveil::audit::line::Head::default(), Vec::new());
    members.iter().for_each(|members| head.append(members.as_bytes(), &mut out));
    fs::write(folder.join(format!("audit-{chain}-000001.jsonl")), out).unwrap();
}

const FORGED: &str = "20200101T000000.000000Z-deadbeef";
const THEN: &str = "\"time\":\"2020-01-01T00:00:00.000000Z\"";

#[tokio::test(flavor = "multi_thread")]
async fn what_no_seal_vouches_for_is_not_believed() {
    let stage = stage("").await;
    let config = stage.write();
    let trail = folder(config.parent().unwrap());
    run(&config);
    run(&config);
    let all = files(&trail);
    let verify = || sqlveil(&["audit", "verify", "--config", config.to_str().unwrap()]);
    let start = format!("{THEN},\"kind\":\"start\",\"chain\":\"{FORGED}\",\"version\":1");
    // A chain that somebody invented.
    let invented = format!("{THEN},\"kind\":\"statement\",\"user\":\"ana\",\"decision\":\"allowed\"");
    forge(&trail, FORGED, &[start.clone(), invented]);
    let (status, told) = verify();
    assert!(status == 1 && told.contains("no seal of the chain holds"), "{told}");
    // One that says another was old.
    let first = fs::read_to_string(&all[0]).unwrap();
    let name = all[0].file_name().unwrap().to_str().unwrap();
    let chain = name.strip_prefix("audit-").unwrap().rsplit_once('-').unwrap().0;
    let expired = format!(
        "{THEN},\"kind\":\"expired\",\"chain\":\"{chain}\",\"file\":\"{name}\",\"seq\":{}",
        first.lines().count()
    );
    forge(&trail, FORGED, &[start, expired]);
    fs::remove_file(&all[0]).unwrap();
    let (status, told) = verify();
    assert!(status == 1 && told.contains("which is missing"), "{told}");
    fs::write(&all[0], &first).unwrap();
    fs::remove_file(trail.join(format!("audit-{FORGED}-000001.jsonl"))).unwrap();
    assert_eq!(verify().0, 0);
    // The newest is written anew, without seals and end; the next run does not make it good.
    let newest = fs::read_to_string(&all[1]).unwrap();
    let name = all[1].file_name().unwrap().to_str().unwrap();
    let chain = name.strip_prefix("audit-").unwrap().rsplit_once('-').unwrap().0.to_owned();
    let kept = newest.lines().filter(|line| !line.contains("\"kind\":\"seal\"") && !line.contains("\"kind\":\"stop\""));
    let members: Vec<String> =
        kept.map(|line| line.split_once(',').unwrap().1.rsplit_once(",\"hash\":").unwrap().0.to_owned()).collect();
    forge(&trail, &chain, &members);
    let (status, told) = verify();
    assert!(status == 1 && told.contains("no seal of the chain holds"), "{told}");
    let process = run(&config);
    assert!(process.says(&["the audit trail of the run before was changed"]));
    assert_eq!(verify().0, 1);
}

/// Asks until the proxy is gone; gives how many answers came.
async fn asks(port: u16, database: String) -> u64 {
    let Ok(client) = connect(port, &database).await else { return 0 };
    let mut answers = 0;
    while client.simple_query("SELECT id FROM open LIMIT 1").await.is_ok() {
        answers += 1;
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_proxy_leaves_a_chain_that_holds_up_to_where_it_was_cut() {
    let stage: Stage = stage("").await;
    let config = stage.write();
    let database = database(&stage);
    let trail = folder(config.parent().unwrap());
    let mut answered = 0;
    for _ in 0..4 {
        let process = Process::start(&config);
        let asking: Vec<_> = (0..4).map(|_| tokio::spawn(asks(process.port, database.clone()))).collect();
        let pause = rand::rng().random_range(100..900);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        process.signal("KILL");
        for task in asking {
            answered += task.await.unwrap();
        }
        drop(process);
        let (status, told) = sqlveil(&["audit", "verify", "--config", config.to_str().unwrap()]);
        assert_eq!(status, 2, "{told}");
        assert!(told.contains("cut behind record") && !told.contains("problem:"), "{told}");
    }
    // Half a line, as a machine that stops leaves it.
    let last = files(&trail).pop().unwrap();
    let half = lines(&trail).pop().unwrap()[..40].to_owned();
    let before = fs::metadata(&last).unwrap().len();
    fs::write(&last, fs::read_to_string(&last).unwrap() + &half).unwrap();
    let (status, told) = sqlveil(&["audit", "verify", "--config", config.to_str().unwrap()]);
    assert_eq!(status, 2, "{told}");
    assert!(told.contains(&format!("byte {before}: 40 bytes of the next follow")), "{told}");
    let mut process = Process::start(&config);
    assert!(process.says(&["was cut off behind this record", "bytes=40"]));
    stop(&mut process);
    let (status, told) = sqlveil(&["audit", "verify", "--config", config.to_str().unwrap()]);
    assert_eq!(status, 0, "{told}");
    assert_eq!(told.matches("cut behind record").count(), 4, "{told}");
    // Hardly more is missing than what is gathered in some hundredths of a second.
    let kept = fs::read_dir(&trail).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let kept: u64 = kept.map(|text| text.matches("\"outcome\":\"completed\"").count() as u64).sum();
    assert!(answered > 0 && kept <= answered + 16, "{kept} of {answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_files_go_and_the_chain_says_so() {
    let stage = stage(", keep: 30d").await;
    let config = stage.write();
    let trail = folder(config.parent().unwrap());
    run(&config);
    run(&config);
    let [old, new] = files(&trail).try_into().unwrap();
    let ago = std::time::SystemTime::now() - Duration::from_secs(31 * 24 * 60 * 60);
    fs::File::options().append(true).open(&old).unwrap().set_modified(ago).unwrap();
    run(&config);
    assert!(!old.exists() && new.exists());
    let config = config.display().to_string();
    let (status, told) = sqlveil(&["audit", "verify", "--config", &config]);
    assert_eq!(status, 0, "{told}");
    assert!(lines(&trail).iter().any(|line| line.contains("\"kind\":\"expired\"")));
    // One that is young goes without a word.
    fs::remove_file(&new).unwrap();
    let (status, told) = sqlveil(&["audit", "verify", "--config", &config]);
    assert!(status == 1 && told.contains("which is missing"), "{told}");
}
