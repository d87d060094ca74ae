//! Tokens of ServiceAccounts: signed statements that somebody is a ServiceAccount, perhaps only as long as a Pod
//! lives. Signing and reading them is here; whether the objects that they are bound to still exist is asked of the
//! caller.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::identity::{Digest, User};

/// Seconds by which clocks may differ.
const LEEWAY: i64 = 60;

/// Name and uid of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The name.
    pub name: String,
    /// The uid; a token outlives neither the object nor its namesake.
    pub uid: String,
}

/// What a token is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The namespace of all of it.
    pub namespace: String,
    /// The ServiceAccount.
    pub serviceaccount: Reference,
    /// The Pod, if the token ends with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The Secret, if the token ends with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The Node on which the Pod runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
}

/// The claims of a token, as Kubernetes writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom the token is meant.
    pub aud: Vec<String>,
    /// When it ends, in Unix seconds.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// Who issued it.
    pub iss: String,
    /// Its own identifier.
    pub jti: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub bound: Bound,
    /// From when it counts. Written for others and not checked: our own clock may have been set back.
    pub nbf: i64,
    /// The user name.
    pub sub: String,
}

impl Claims {
    /// The user that the token stands for.
    pub fn user(&self) -> User {
        let bound = &self.bound;
        let account = &bound.serviceaccount;
        let mut user = User::service_account(&bound.namespace, &account.name, &account.uid);
        let mut add = |key: &str, value: String| {
            user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
        };
        add("credential-id", format!("JTI={}", self.jti));
        for (kind, reference) in [("pod", &bound.pod), ("node", &bound.node)] {
            if let Some(reference) = reference {
                add(&format!("{kind}-name"), reference.name.clone());
                add(&format!("{kind}-uid"), reference.uid.clone());
            }
        }
        user
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// Signs tokens and reads those it signed.
pub struct Signer {
    key: EcdsaKeyPair,
    key_id: String,
    issuer: String,
    random: SystemRandom,
}

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("not an ECDSA P-256 key in PKCS#8")]
pub struct KeyError;

impl Signer {
    /// A new key in PKCS#8.
    pub fn generate() -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| KeyError)?;
        Ok(pkcs8.as_ref().to_vec())
    }

    /// A signer with this key that calls itself `issuer`.
    pub fn new(pkcs8: &[u8], issuer: &str) -> Result<Signer, KeyError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|_| KeyError)?;
        let key_id = Digest::of(key.public_key().as_ref()).to_hex()[..32].to_owned();
        Ok(Signer { key, key_id, issuer: issuer.to_owned(), random })
    }

    /// The name of the issuer, which is also the audience of the API server.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A token for the ServiceAccount of `bound`, from `now` for `seconds`, meant for `audiences`.
    pub fn sign(
        &self,
        bound: Bound,
        audiences: Vec<String>,
        now: i64,
        seconds: i64,
    ) -> Result<String, KeyError> {
        let claims = Claims {
            aud: if audiences.is_empty() { vec![self.issuer.clone()] } else { audiences },
            exp: now.saturating_add(seconds),
            iat: now,
            iss: self.issuer.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            sub: format!("system:serviceaccount:{}:{}", bound.namespace, bound.serviceaccount.name),
            nbf: now,
            bound,
        };
        let header = Header { alg: "ES256".to_owned(), kid: self.key_id.clone() };
        let mut token = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(&self.random, token.as_bytes()).map_err(|_| KeyError)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }

    /// The claims of a token that this key signed; nothing else about them is checked.
    pub fn read(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = decode(header)?;
        if header.alg != "ES256" || header.kid != self.key_id {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        key.verify(signed.as_bytes(), &signature).ok()?;
        decode(claims)
    }

    /// For which of `audiences` the claims count at `now`.
    pub fn accepts(&self, claims: &Claims, now: i64, audiences: &[String]) -> Vec<String> {
        if claims.iss != self.issuer || claims.exp + LEEWAY <= now {
            return Vec::new();
        }
        audiences.iter().filter(|audience| claims.aud.contains(audience)).cloned().collect()
    }

    /// The public key as a JSON Web Key Set, for those who check tokens themselves.
    pub fn key_set(&self) -> Value {
        // An uncompressed point: 4, then both coordinates.
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}

fn encode(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).expect("strings and numbers are JSON"))
}

fn decode<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Bound, Reference, Signer};

    fn signer() -> Signer {
        Signer::new(&Signer::generate().unwrap(), "https://kubernetes.default.svc.cluster.local").unwrap()
    }

    fn bound() -> Bound {
        Bound {
            namespace: "ns".into(),
            serviceaccount: Reference { name: "app".into(), uid: "u1".into() },
            pod: Some(Reference { name: "p".into(), uid: "u2".into() }),
            ..Bound::default()
        }
    }

    #[test]
    fn a_token_names_its_account_and_pod() {
        let signer = signer();
        let claims = signer.read(&signer.sign(bound(), vec![], 1000, 600).unwrap()).unwrap();
        let ours = [signer.issuer().to_owned()];
        assert_eq!(signer.accepts(&claims, 1500, &ours), ours);
        assert!(signer.accepts(&claims, 1700, &ours).is_empty());
        let user = claims.user();
        assert_eq!(user.name, "system:serviceaccount:ns:app");
        assert_eq!(user.uid, "u1");
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
        assert!(user.is_in("system:serviceaccounts:ns"));
    }

    #[test]
    fn other_keys_audiences_and_changes_do_not_pass() {
        let signer = signer();
        let token = signer.sign(bound(), vec![], 1000, 600).unwrap();
        assert!(super::tests::signer().read(&token).is_none());
        let mut changed: Vec<String> = token.split('.').map(str::to_owned).collect();
        let other = if &changed[1][4..5] == "A" { "B" } else { "A" };
        changed[1].replace_range(4..5, other);
        assert!(signer.read(&changed.join(".")).is_none());
        assert!(signer.read("").is_none() && signer.read("a.b.c").is_none());
        let vault = signer.read(&signer.sign(bound(), vec!["vault".into()], 1000, 600).unwrap()).unwrap();
        assert!(signer.accepts(&vault, 1000, &[signer.issuer().to_owned()]).is_empty());
        assert_eq!(signer.accepts(&vault, 1000, &["a".into(), "vault".into()]), ["vault"]);
    }

    #[test]
    fn others_can_check_a_token_by_the_published_key() {
        use base64::Engine as _;
        let signer = signer();
        let token = signer.sign(bound(), vec![], 1000, 600).unwrap();
        let keys = signer.key_set();
        let part =
            |name: &str| super::URL_SAFE_NO_PAD.decode(keys["keys"][0][name].as_str().unwrap()).unwrap();
        let point = [vec![4], part("x"), part("y")].concat();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = super::URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = super::UnparsedPublicKey::new(&super::ECDSA_P256_SHA256_FIXED, point);
        assert!(key.verify(signed.as_bytes(), &signature).is_ok());
    }
}
