//! How a client proves its name: the authentication exchange (PostgreSQL manual, 55.2.1 and 55.3), by the rule that fits.
//!
//! In: the client, what it asks for, the rules. Out: a [`Login`], AuthenticationOk sent; or why not, in words that are the same whether the
//! user exists or not. Must never: ask for a password where others can read it, say more than PostgreSQL would, or go on to another rule
//! after one that fits has failed.

use super::attempts::Attempt;
use super::client::Client;
use super::handshake::Greeted;
use crate::config::authentication::{Asking, Certificate, Field, LdapServer, Mapping, Method, Rule, Rules};
use crate::error::{Family, Refusal, SqlState};
use crate::identity::certificate::Shown;
use crate::identity::keyring::{Keyring, Untaken};
use crate::identity::scram::ServerExchange;
use crate::identity::token::Rejected;
use crate::identity::{Directory, Login, bearer, ldap};
use crate::wire::frontend::{password, sasl_initial};
use crate::wire::{Frontend, Header, Limits, backend};
use crate::world::Directories;
use bytes::BytesMut;
use jiff::Timestamp;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a client has to prove its name by.
#[derive(Debug, Clone, Copy)]
pub enum Demand<'a> {
    /// There are no rules: SCRAM-SHA-256.
    Usual,
    /// What the rule that fits says.
    By(&'a Rule),
    /// No rule fits: nothing would do.
    Never,
}

impl<'a> Demand<'a> {
    /// What the rules demand of whoever asks.
    pub fn of(rules: Option<&'a Rules>, asking: &Asking<'_>) -> Self {
        match rules {
            None => Self::Usual,
            Some(rules) => rules.first(asking).map_or(Self::Never, Self::By),
        }
    }

    /// The method, for the audit record.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Usual => "scram-sha-256",
            Self::By(rule) => rule.method.name(),
            Self::Never => "none",
        }
    }
}

/// The client whose name is to be proved.
pub struct Proof<'a> {
    /// Who there is.
    pub directory: &'a Directory,
    /// Who knows more of them.
    pub directories: &'a Directories,
    /// Keys of the issuers.
    pub keyrings: &'a [Arc<Keyring>],
    /// `tls-server-end-point` of our certificate, when the connection is under TLS and it has one.
    pub end_point: Option<&'a [u8]>,
    /// What the client asks for.
    pub asking: Asking<'a>,
    /// The login name.
    pub user: &'a Arc<str>,
}

/// Why a login ended.
#[derive(Debug)]
pub enum Failed {
    /// The client is told why.
    Refused(No),
    /// The client is gone.
    Gone(io::Error),
}

/// A login refused.
#[derive(Debug)]
pub struct No {
    /// What the client is told.
    pub refusal: Box<Refusal>,
    /// What the log is told besides.
    pub why: Option<String>,
    /// When the client had said all it had to say: answers come at the same time after that.
    pub since: Instant,
    /// Whether it was an attempt to log in; a client may also just ask how.
    pub counts: bool,
    /// How long the answer waits, when the failure is counted already.
    pub waits: Option<Duration>,
}

impl No {
    fn because(refusal: Refusal, why: impl ToString) -> Self {
        Self { why: Some(why.to_string()), ..refusal.into() }
    }

    /// In the words of a proof that failed, unless it is a directory that failed.
    fn or(self, refusal: Refusal) -> Self {
        if self.counts { Self { refusal: Box::new(refusal), ..self } } else { self }
    }
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self { refusal: Box::new(refusal), why: None, since: Instant::now(), counts: true, waits: None }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<No> for Failed {
    fn from(no: No) -> Self {
        Self::Refused(no)
    }
}

/// 28P01 in PostgreSQL's words.
fn wrong(user: &str) -> Refusal {
    let text = format!("password authentication failed for user \"{user}\"");
    Refusal::new(Family::Denied, SqlState::INVALID_PASSWORD, text)
}

/// 28000: `auth_failed` of PostgreSQL, for methods without a password.
fn unproved(how: &str, user: &str) -> Refusal {
    let text = format!("{how} authentication failed for user \"{user}\"");
    Refusal::new(Family::Denied, SqlState::INVALID_AUTHORIZATION, text)
}

/// A rule that rejects and no rule at all sound alike.
fn nobody_asks(asking: &Asking<'_>) -> Refusal {
    let Asking { address, user, database, tls } = asking;
    let how = if *tls { "SSL encryption" } else { "no encryption" };
    let text =
        format!("no login is permitted from host \"{address}\" as user \"{user}\" to database \"{database}\", {how}");
    Refusal::new(Family::Denied, SqlState::INVALID_AUTHORIZATION, text)
}

impl Proof<'_> {
    /// Lets the client prove its name. Whether the attempt may go on is asked again once the proof has come, before it is looked at. Not cancel
    /// safe: a dropped exchange ends the connection.
    pub async fn ask(
        &self,
        client: &mut Client,
        greeted: &mut Greeted,
        demand: Demand<'_>,
        attempt: &Attempt,
    ) -> Result<Login, Failed> {
        let shown = client.certificate().and_then(|der| Shown::read(&der));
        let mut exchange = Exchange { client, greeted, out: BytesMut::with_capacity(512) };
        exchange.begin();
        let rule = match demand {
            Demand::Usual => return self.scram(&mut exchange, true, attempt).await,
            Demand::By(rule) if !matches!(rule.method, Method::Reject) => rule,
            Demand::By(_) | Demand::Never => return Err(nobody_asks(&self.asking).into()),
        };
        if rule.exposes(&self.asking) {
            let text = "this login needs an encrypted connection";
            return Err(Refusal::new(Family::Denied, SqlState::INVALID_AUTHORIZATION, text)
                .with_hint("Connect with sslmode=require or stronger.")
                .into());
        }
        let until = self.certificate(&rule.certificate, shown.as_ref(), &rule.method)?;
        let mut login = match &rule.method {
            Method::Scram { plus } => self.scram(&mut exchange, !plus, attempt).await?,
            Method::Certificate => {
                attempt.may_go_on()?;
                let login = Login { until, ..Login::of(Arc::clone(self.user)) };
                let login = self.known(login).await.map_err(|no| no.or(unproved("certificate", self.user)))?;
                exchange.accept().await?;
                login
            }
            Method::Jwt(issuer) => {
                let token = exchange.password().await?;
                attempt.may_go_on()?;
                let login = self.token(&issuer.name, &token, wrong(self.user)).await?;
                exchange.accept().await?;
                login
            }
            Method::Bearer(issuer) => self.bearer(&mut exchange, &issuer.name, attempt).await?,
            Method::Ldap(server) => {
                let password = exchange.password().await?;
                let turn = attempt.turn().await?;
                let since = Instant::now();
                let proved = self.ldap(server, &password, since).await;
                // Counted before the next one's turn.
                proved.map_err(|no| No { waits: Some(attempt.failed()), ..no })?;
                drop(turn);
                // A token speaks for users of its provider, and so does a server that says whose.
                let login = Login { iam: server.iam.clone(), ..Login::of(Arc::clone(self.user)) };
                let login = self.known(login).await;
                let login = login.map_err(|no| No { since, ..no.or(unproved("LDAP", self.user)) })?;
                exchange.accept().await?;
                login
            }
            Method::Reject => return Err(nobody_asks(&self.asking).into()),
        };
        // Whichever of token and certificate ends first ends the login.
        login.until = [login.until, until].into_iter().flatten().min();
        Ok(login)
    }

    /// The login with what directories say of it, if its user may be here. Tokens and temporary accounts prove themselves by their secrets
    /// and by nothing else.
    async fn known(&self, login: Login) -> Result<Login, Box<No>> {
        if self.directory.has_secret_of_its_own(&login.user) {
            let text = format!("role \"{}\" is not permitted to log in", self.user);
            let refusal = Refusal::new(Family::Denied, SqlState::INVALID_AUTHORIZATION, text);
            return Err(Box::new(No::because(refusal, "the user may not log in here")));
        }
        self.here(login).await
    }

    /// The login with what directories say of it, if its user may be here. Only who has proved his name gets so far: he may be told that
    /// a directory does not answer.
    async fn here(&self, login: Login) -> Result<Login, Box<No>> {
        let since = Instant::now();
        let mut login = self.directories.introduce(self.directory, login).await;
        match self.directory.caller_of(&login, login.project()) {
            Ok(caller) => {
                login.iam = Some(caller.iam);
                Ok(login)
            }
            Err(refusal) if refusal.code == SqlState::SYSTEM_ERROR => {
                let why = refusal.message.to_string();
                let refusal = Refusal { code: SqlState::CANNOT_CONNECT_NOW, ..refusal };
                Err(Box::new(No { counts: false, since, ..No::because(refusal, why) }))
            }
            Err(refusal) => Err(Box::new(No { since, ..No::because(refusal, "the user may not log in here") })),
        }
    }

    async fn scram(&self, exchange: &mut Exchange<'_>, unbound: bool, attempt: &Attempt) -> Result<Login, Failed> {
        let mut scram = ServerExchange::new(self.directory.verifier(self.user), self.end_point);
        let mut mechanisms = scram.mechanisms();
        if !unbound {
            mechanisms.retain(|name| *name == crate::identity::scram::SCRAM_SHA_256_PLUS);
            if mechanisms.is_empty() {
                let text = "this login needs channel binding, which this connection cannot have";
                return Err(Refusal::new(Family::Denied, SqlState::INVALID_AUTHORIZATION, text)
                    .with_hint("Connect with sslmode=require and channel_binding=require.")
                    .into());
            }
        }
        backend::authentication_sasl(&mut exchange.out, &mechanisms);
        let first = exchange.answer().await?;
        let (mechanism, data) = sasl_initial(&first)?;
        if !mechanisms.contains(&mechanism) {
            return Err(Refusal::protocol("client selected an invalid SASL authentication mechanism").into());
        }
        let reply = scram.client_first(mechanism, data)?;
        backend::authentication_sasl_continue(&mut exchange.out, &reply);
        let last = exchange.answer().await?;
        attempt.may_go_on()?;
        let reply = scram.client_final(&last)?;
        backend::authentication_sasl_final(&mut exchange.out, &reply);
        exchange.accept().await?;
        self.here(self.directory.login_of(self.user)).await.map_err(|no| Failed::Refused(*no))
    }

    async fn bearer(&self, exchange: &mut Exchange<'_>, issuer: &str, attempt: &Attempt) -> Result<Login, Failed> {
        backend::authentication_sasl(&mut exchange.out, &[bearer::OAUTHBEARER]);
        let first = exchange.answer().await?;
        let (mechanism, data) = sasl_initial(&first)?;
        if mechanism != bearer::OAUTHBEARER {
            return Err(Refusal::protocol("client selected an invalid SASL authentication mechanism").into());
        }
        let refusal = unproved("OAuth bearer", self.user);
        let mut no = match bearer::token(data)? {
            Some(token) => {
                attempt.may_go_on()?;
                match self.token(issuer, token, refusal).await {
                    Ok(login) => {
                        exchange.accept().await?;
                        return Ok(login);
                    }
                    Err(no) => no,
                }
            }
            // Not an attempt: it is told where to get a token and comes again.
            None => No { counts: false, ..refusal.into() },
        };
        let Some(keyring) = self.keyring(issuer) else { return Err(no.into()) };
        backend::authentication_sasl_continue(&mut exchange.out, &bearer::refusal(keyring.issuer()));
        if exchange.answer().await? != [bearer::SEPARATOR] {
            *no.refusal = Refusal::protocol("malformed OAUTHBEARER message");
        }
        Err(no.into())
    }

    fn keyring(&self, issuer: &str) -> Option<&Arc<Keyring>> {
        self.keyrings.iter().find(|keyring| *keyring.issuer().name == *issuer)
    }

    /// Checks a token wholly before it is looked at who it is about, so that what is wrong with it says nothing of users.
    async fn token(&self, issuer: &str, token: &str, refusal: Refusal) -> Result<Login, No> {
        let since = Instant::now();
        let no = |refusal: Refusal, why: String| No { since, ..No::because(refusal, why) };
        let Some(keyring) = self.keyring(issuer) else { return Err(no(refusal, "no such issuer".to_owned())) };
        let proven = match keyring.verify(token).await {
            Ok(proven) => proven,
            Err(Untaken::Rejected(why @ Rejected::Expired)) => {
                let refusal = refusal.with_hint("The token has expired: log in with a new one.");
                return Err(no(refusal, why.to_string()));
            }
            Err(why) => return Err(no(refusal, why.to_string())),
        };
        if !keyring.issuer().claims.map.leads(&proven.name, self.user) {
            return Err(no(refusal, "the token is about somebody else".to_owned()));
        }
        let login = Login {
            until: Some(proven.until),
            brought: Some(Arc::new(proven.brought)),
            ..Login::of(Arc::clone(self.user))
        };
        self.known(login).await.map_err(|no| No { since, ..no.or(refusal) })
    }

    /// Whether the server takes the password.
    async fn ldap(&self, server: &LdapServer, password: &str, since: Instant) -> Result<(), No> {
        let no = |why: String| No { since, ..No::because(unproved("LDAP", self.user), why) };
        // The server is asked whoever it is: an answer without asking would be quicker.
        match ldap::check(server, self.user, password).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(no("the server does not take the password".to_owned())),
            Err(why) => {
                tracing::error!(
                    server = &*server.name,
                    "the LDAP server cannot be asked: {why}; logins by it are refused"
                );
                Err(no(why.to_string()))
            }
        }
    }

    /// Whether the client showed what the rule asks for; until when it is good.
    fn certificate(
        &self,
        wanted: &Certificate,
        shown: Option<&Shown>,
        method: &Method,
    ) -> Result<Option<Timestamp>, No> {
        let (field, map): (Option<Field>, Option<&Mapping>) = match wanted {
            Certificate::Free => return Ok(None),
            Certificate::Signed => (None, None),
            Certificate::Named(field, map) => (Some(*field), Some(map)),
        };
        let good = shown.and_then(|shown| Some((shown, shown.until()?))).filter(|(_, until)| *until > Timestamp::now());
        let Some((shown, until)) = good else {
            let text = "connection requires a valid client certificate";
            return Err(Refusal::new(Family::Denied, SqlState::INVALID_AUTHORIZATION, text).into());
        };
        if let (Some(field), Some(map)) = (field, map)
            && !shown.names(field).iter().any(|name| map.leads(name, self.user))
        {
            let why =
                format!("no name of the client certificate leads to this user (rule of method {})", method.name());
            return Err(No::because(unproved("certificate", self.user), why));
        }
        Ok(Some(until))
    }
}

/// The client's side of an exchange: what is to be sent next, what it answers.
struct Exchange<'a> {
    client: &'a mut Client,
    greeted: &'a mut Greeted,
    out: BytesMut,
}

impl Exchange<'_> {
    /// The version of the protocol is settled first.
    fn begin(&mut self) {
        if self.greeted.negotiate {
            backend::negotiate_protocol_version(&mut self.out, self.greeted.minor, &self.greeted.message.options);
        }
    }

    async fn send(&mut self) -> io::Result<()> {
        self.client.write_all_buf(&mut self.out).await?;
        self.client.flush().await
    }

    /// Sends what is waiting and takes the answer.
    async fn answer(&mut self) -> Result<Vec<u8>, Failed> {
        self.send().await?;
        answer(self.client, &mut self.greeted.input).await
    }

    /// Asks for a password, or what stands in its place.
    async fn password(&mut self) -> Result<String, Failed> {
        backend::authentication_cleartext_password(&mut self.out);
        let body = self.answer().await?;
        Ok(password(&body)?.to_owned())
    }

    async fn accept(&mut self) -> Result<(), Failed> {
        backend::authentication_ok(&mut self.out);
        self.client.write_all_buf(&mut self.out).await?;
        Ok(())
    }
}

/// The next password message (`p`); anything else is a protocol violation.
async fn answer(client: &mut (impl AsyncRead + AsyncWrite + Unpin), input: &mut BytesMut) -> Result<Vec<u8>, Failed> {
    let limits = Limits::default();
    loop {
        if let Some(header) = Header::scan(input)? {
            if header.tag != b'p' {
                let text = format!("expected SASL response, got message type {}", header.tag);
                return Err(Refusal::protocol(text).into());
            }
            limits.check(header)?;
            if input.len() >= header.total() {
                let message = input.split_to(header.total());
                let body = message.get(Header::LEN..).unwrap_or_default();
                return match Frontend::parse(header.tag, body)? {
                    Frontend::Authentication(data) => Ok(data.to_vec()),
                    _ => Err(Refusal::protocol("expected SASL response").into()),
                };
            }
        }
        if client.read_buf(input).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}
