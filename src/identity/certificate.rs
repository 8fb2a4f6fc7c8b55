//! What a client certificate says: its names, and how long it is good (RFC 5280).
//!
//! In: a certificate that the TLS handshake has verified. Out: texts. Must never: take a name that could be read in two ways.

use crate::config::authentication::Field;
use jiff::Timestamp;
use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// RFC 5280, appendix A.1: `id-at-commonName`.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// A certificate that has been read.
#[derive(Debug, Clone)]
pub struct Shown(Certificate);

impl Shown {
    /// Reads DER.
    pub fn read(der: &[u8]) -> Option<Self> {
        Certificate::from_der(der).ok().map(Self)
    }

    /// The first instant at which it is not good any more.
    pub fn until(&self) -> Option<Timestamp> {
        let last = self.0.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
        i64::try_from(last).ok().and_then(|last| Timestamp::from_second(last.checked_add(1)?).ok())
    }

    /// The texts of a field. Several common names are none: which one is meant?
    pub fn names(&self, field: Field) -> Vec<String> {
        let found = match field {
            Field::CommonName => self.common_name().into_iter().collect(),
            Field::Subject => vec![self.0.tbs_certificate.subject.to_string()],
            Field::Email | Field::Dns | Field::Uri => self.alternative(field),
        };
        // A NUL ends a text elsewhere, and there it is another name.
        found.into_iter().filter(|name| !name.is_empty() && !name.chars().any(char::is_control)).collect()
    }

    fn common_name(&self) -> Option<String> {
        let parts = self.0.tbs_certificate.subject.0.iter().flat_map(|rdn| rdn.0.iter());
        let mut names = parts.filter(|part| part.oid == COMMON_NAME);
        let only = names.next()?;
        if names.next().is_some() { None } else { text(only) }
    }

    fn alternative(&self, field: Field) -> Vec<String> {
        let Ok(Some((_, names))) = self.0.tbs_certificate.get::<SubjectAltName>() else { return Vec::new() };
        let matching = names.0.iter().filter_map(|name| match (name, field) {
            (GeneralName::Rfc822Name(text), Field::Email)
            | (GeneralName::DnsName(text), Field::Dns)
            | (GeneralName::UniformResourceIdentifier(text), Field::Uri) => Some(text.as_str().to_owned()),
            _ => None,
        });
        matching.collect()
    }
}

/// Directory strings that are read alike everywhere; others are no names.
fn text(part: &AttributeTypeAndValue) -> Option<String> {
    match part.value.tag() {
        Tag::Utf8String => part.value.decode_as::<Utf8StringRef<'_>>().ok().map(|t| t.as_str().to_owned()),
        Tag::PrintableString => part.value.decode_as::<PrintableStringRef<'_>>().ok().map(|t| t.as_str().to_owned()),
        Tag::Ia5String => part.value.decode_as::<Ia5StringRef<'_>>().ok().map(|t| t.as_str().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, date_time_ymd};

    fn shown(fill: impl FnOnce(&mut CertificateParams)) -> Shown {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        fill(&mut params);
        let key = KeyPair::generate().unwrap();
        Shown::read(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn each_field_has_its_texts() {
        let shown = shown(|params| {
            params.distinguished_name.push(DnType::OrganizationName, "Corp");
            params.distinguished_name.push(DnType::CommonName, "ana");
            params.subject_alt_names = vec![
                SanType::Rfc822Name("ana@corp.example".try_into().unwrap()),
                SanType::DnsName("ana.corp.example".try_into().unwrap()),
                SanType::URI("spiffe://corp.example/ana".try_into().unwrap()),
            ];
            params.not_after = date_time_ymd(2030, 1, 1);
        });
        assert_eq!(shown.names(Field::CommonName), ["ana"]);
        assert_eq!(shown.names(Field::Subject), ["CN=ana,O=Corp"]);
        assert_eq!(shown.names(Field::Email), ["ana@corp.example"]);
        assert_eq!(shown.names(Field::Dns), ["ana.corp.example"]);
        assert_eq!(shown.names(Field::Uri), ["spiffe://corp.example/ana"]);
        assert_eq!(shown.until().unwrap().to_string(), "2030-01-01T00:00:01Z");
    }

    #[test]
    fn a_name_that_can_be_read_in_two_ways_is_none() {
        let nul = shown(|params| params.distinguished_name.push(DnType::CommonName, "ana\0.evil"));
        assert!(nul.names(Field::CommonName).is_empty());
        let comma = shown(|params| params.distinguished_name.push(DnType::CommonName, "x,O=Corp"));
        assert_ne!(comma.names(Field::Subject), ["CN=x,O=Corp"]);
        assert!(shown(|_| ()).names(Field::CommonName).is_empty());
        assert!(shown(|_| ()).names(Field::Email).is_empty());
    }
}
