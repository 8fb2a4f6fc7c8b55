//! An OpenLDAP server of our own: started in a temporary folder by an unprivileged account, gone with the test.
//!
//! A runner includes it by its path, beside `papers.rs`, which makes its certificate.

use crate::papers::Papers;
use sqlveil::cli::demo::private_postgres::free_port;
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The entry that may do everything, and its password.
pub const ADMIN: (&str, &str) = ("cn=admin,dc=example,dc=org", "admin's password");

/// ana (uid=ana), two people called twin, one who may not log in by his group, one whose name needs escapes; a service account
/// that may search. Passwords are `<name>'s password`.
const PEOPLE: &str = r#"dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: cn=reader,dc=example,dc=org
objectClass: person
cn: reader
sn: reader
userPassword: reader's password

dn: uid=ana,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ana
cn: ana
sn: ana
employeeType: analyst
userPassword: ana's password

dn: uid=tom,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: tom
cn: tom
sn: tom
employeeType: analyst
userPassword: tom's password

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: bob
sn: bob
employeeType: analyst
userPassword: bob's password

dn: uid=ida,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ida
cn: ida
sn: ida
employeeType: analyst
userPassword: ida's password

dn: cn=twin1,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: twin
cn: twin1
sn: twin
employeeType: analyst
userPassword: twin's password

dn: cn=twin2,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: twin
cn: twin2
sn: twin
employeeType: analyst
userPassword: twin's password
"#;

pub struct Slapd {
    pub port: u16,
    pub tls_port: u16,
    server: Option<Child>,
    folder: tempfile::TempDir,
}

/// Whom to run as when we are root.
fn nobody() -> Option<u32> {
    let me = std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m)).unwrap_or(0);
    (me == 0).then_some(65_534)
}

fn run(program: &Path, args: &[&str], input: Stdio) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(nobody) = nobody() {
        command.uid(nobody).gid(nobody);
    }
    command
}

impl Slapd {
    /// Starts with the server certificate of the papers.
    pub fn start(papers: &Papers) -> Self {
        Self::with(papers, PEOPLE, "")
    }

    /// Starts with entries and settings of the test's own (settings of the database).
    pub fn with(papers: &Papers, entries: &str, settings: &str) -> Self {
        let installed = Path::new("/usr/sbin/slapd");
        assert!(
            installed.is_file(),
            "no OpenLDAP server: .ci/setup installs it (Debian, Ubuntu: apt-get install slapd)"
        );
        let folder = tempfile::Builder::new().prefix("sqlveil-ldap-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("data")).unwrap();
        // Copies: where a security module confines the installed program to its own folders, it lets these be. It is one program that
        // goes by its name.
        for name in ["slapd", "slapadd"] {
            std::fs::copy(installed, at(name)).unwrap();
        }
        for name in ["ca.crt", "server.crt", "server.key"] {
            std::fs::copy(papers.folder().join(name), at(name)).unwrap();
        }
        std::fs::write(at("people.ldif"), entries).unwrap();
        let here = folder.path().display();
        let conf = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\ninclude /etc/ldap/schema/nis.schema\n\
             modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload memberof\n\
             TLSCACertificateFile {here}/ca.crt\nTLSCertificateFile {here}/server.crt\n\
             TLSCertificateKeyFile {here}/server.key\ndatabase mdb\nmaxsize 16777216\nsuffix \"dc=example,dc=org\"\n\
             rootdn \"{}\"\nrootpw \"{}\"\n{settings}directory {here}/data\naccess to attrs=userPassword by anonymous auth by * none\n\
             access to * by dn.exact=\"cn=reader,dc=example,dc=org\" read by * none\n",
            ADMIN.0, ADMIN.1
        );
        std::fs::write(at("slapd.conf"), conf).unwrap();
        if let Some(nobody) = nobody() {
            let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            for path in entries.chain([folder.path().to_path_buf()]) {
                chown(path, Some(nobody), Some(nobody)).unwrap();
            }
        }
        let (conf, people) = (at("slapd.conf"), at("people.ldif"));
        let (conf, people) = (conf.to_str().unwrap(), people.to_str().unwrap());
        let filled = run(&at("slapadd"), &["-f", conf, "-l", people], Stdio::null()).status().unwrap();
        assert!(filled.success(), "slapadd: {filled}");
        let (port, tls_port) = (free_port().unwrap(), free_port().unwrap());
        let mut slapd = Self { port, tls_port, server: None, folder };
        slapd.resume();
        slapd
    }

    /// Starts it again where it was.
    pub fn resume(&mut self) {
        let at = |name: &str| self.folder.path().join(name);
        let urls = format!("ldap://127.0.0.1:{}/ ldaps://127.0.0.1:{}/", self.port, self.tls_port);
        // A shell in between ends the server when our end of its input is closed, however we end.
        let script = "\"$@\" & pid=$!; read -r _; kill $pid; wait $pid";
        let (slapd, conf) = (at("slapd"), at("slapd.conf"));
        let args = ["-c", script, "sh", slapd.to_str().unwrap(), "-d", "0", "-f", conf.to_str().unwrap(), "-h", &urls];
        self.server = Some(run(Path::new("/bin/sh"), &args, Stdio::piped()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.tls_port)).is_err() {
            assert!(Instant::now() < deadline, "slapd does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it; what it holds stays.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.stdin.take());
            let _ = server.wait();
        }
    }

    /// Changes an entry as the administrator: the values of an attribute, none to remove it.
    pub async fn set(&self, entry: &str, attribute: &str, values: &[&str]) {
        let mut ldap = self.admin().await;
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let change = vec![ldap3::Mod::Replace(attribute.to_owned(), values)];
        ldap.modify(entry, change).await.unwrap().success().unwrap();
    }

    /// Removes an entry as the administrator.
    pub async fn remove(&self, entry: &str) {
        self.admin().await.delete(entry).await.unwrap().success().unwrap();
    }

    async fn admin(&self) -> ldap3::Ldap {
        let (connection, mut ldap) =
            ldap3::LdapConnAsync::new(&format!("ldap://127.0.0.1:{}", self.port)).await.unwrap();
        tokio::spawn(connection.drive());
        ldap.simple_bind(ADMIN.0, ADMIN.1).await.unwrap().success().unwrap();
        ldap
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.stop();
    }
}
