//! Who is pushing: the attributes that all metrics of a push share.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1;

/// Host, service and process, by OpenTelemetry's names.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource(Vec<KeyValue>);

/// OpenTelemetry's own variable for all its libraries.
const VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Not `name=value,name=value` with `%`-escapes, as `OTEL_RESOURCE_ATTRIBUTES` holds them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE}: {0}: not attributes like name=value,name=value")]
pub struct AttributesError(String);

impl Resource {
    /// What the kernel says of this host, and this process.
    #[must_use]
    pub fn of_this_host() -> Self {
        let uname = rustix::system::uname();
        let node = uname.nodename().to_string_lossy();
        let machine = uname.machine().to_string_lossy();
        let arch = match machine.as_ref() {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let system = format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy());
        Self(vec![
            text("service.name", "finwait"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", &node),
            text("host.name", &node),
            text("host.arch", arch),
            text("os.type", "linux"),
            text("os.description", &system),
            integer("process.pid", i64::from(std::process::id())),
        ])
    }

    /// [`Resource::of_this_host`] with what `OTEL_RESOURCE_ATTRIBUTES` adds.
    pub fn from_environment() -> Result<Self, AttributesError> {
        match std::env::var_os(VARIABLE) {
            Some(listed) => Self::of_this_host().with_attributes(&listed.to_string_lossy()),
            None => Ok(Self::of_this_host()),
        }
    }

    /// These attributes besides; one that is there already gets the new value.
    pub fn with_attributes(mut self, listed: &str) -> Result<Self, AttributesError> {
        for (name, value) in pairs(listed).ok_or_else(|| AttributesError(listed.to_owned()))? {
            self.0.retain(|attribute| attribute.key != name);
            self.0.push(text(name, &value));
        }
        Ok(self)
    }

    pub(super) fn message(&self) -> v1::Resource {
        v1::Resource { attributes: self.0.clone(), ..v1::Resource::default() }
    }
}

/// An attribute that is a string.
pub(super) fn text(name: &str, value: &str) -> KeyValue {
    attribute(name, any_value::Value::StringValue(value.to_owned()))
}

/// An attribute that is a number.
pub(super) fn integer(name: &str, value: i64) -> KeyValue {
    attribute(name, any_value::Value::IntValue(value))
}

/// An attribute of any type.
pub(super) fn attribute(name: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// `name=value,name=value` with `%`-escapes in the values; `None` for anything else.
pub(super) fn pairs(listed: &str) -> Option<Vec<(&str, String)>> {
    let pairs = listed.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(pair).collect()
}

fn pair(text: &str) -> Option<(&str, String)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then_some(())?;
    Some((name, unescaped(value.trim())?))
}

/// `value` without `%`-escapes; `None` where one is broken or what comes out is no UTF-8.
fn unescaped(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(resource: &'a Resource, name: &str) -> Vec<&'a any_value::Value> {
        let named = resource.0.iter().filter(|attribute| attribute.key == name);
        named.filter_map(|attribute| attribute.value.as_ref()?.value.as_ref()).collect()
    }

    #[test]
    fn a_resource_names_service_host_and_process() {
        let resource = Resource::of_this_host();
        let string = |text: &str| any_value::Value::StringValue(text.to_owned());
        assert_eq!(value(&resource, "service.name"), [&string("finwait")]);
        assert_eq!(value(&resource, "os.type"), [&string("linux")]);
        assert_eq!(value(&resource, "process.pid"), [&any_value::Value::IntValue(std::process::id().into())]);
        assert_eq!(value(&resource, "host.name"), value(&resource, "service.instance.id"));
    }

    #[test]
    fn attributes_of_the_environment_add_and_replace() {
        let resource =
            Resource::of_this_host().with_attributes("k8s.node.name=n1, host.name=a%2Cb%C3%A9,").unwrap();
        assert_eq!(value(&resource, "k8s.node.name"), [&any_value::Value::StringValue("n1".to_owned())]);
        assert_eq!(value(&resource, "host.name"), [&any_value::Value::StringValue("a,bé".to_owned())]);
    }

    #[test]
    fn broken_attributes_are_refused() {
        for listed in ["a", "=b", "a=%4", "a=%zz", "a=%ff", "a=%+1"] {
            let refused = Resource::of_this_host().with_attributes(listed);
            assert_eq!(refused, Err(AttributesError(listed.to_owned())));
        }
    }
}
