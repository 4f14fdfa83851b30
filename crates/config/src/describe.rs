use crate::{Field, Fields, Registry, document::Document, schema};

/// A table of the configuration, with the fields that it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Described {
    /// Its key path, with `NAME` for a name that the application chooses: `receivers.NAME.on.sqs`. Empty for the top.
    pub path: String,
    /// The fields, in the order in which they are read.
    pub fields: Vec<Field>,
}

/// The name of a channel in the document that is read to find the fields.
const NAME: &str = "NAME";

/// The tables of a configuration on these providers, found by reading an empty one: what the code asks for is what there is.
pub(crate) fn describe(registry: &Registry) -> Vec<Described> {
    let mut document = Document::default();
    let text = format!("provider = \"none\"\n[senders.{NAME}]\n[receivers.{NAME}]\n");
    document.add_text("described", &text, &mut Vec::new());
    let schema = schema::read(&document, registry, &mut Vec::new());
    let described = |path: &str, fields: &[Field]| Described { path: path.to_owned(), fields: fields.to_vec() };

    let mut tables = vec![described("", &schema.root)];
    tables.extend(schema.senders.values().map(|sender| described(sender.fields.path(), sender.fields.known())));
    tables.extend(schema.receivers.values().map(|receiver| described(receiver.fields.path(), receiver.fields.known())));
    for provider in registry.iter() {
        let mut of = |path: String, check: &dyn Fn(&mut Fields)| {
            let mut fields = Document::default().fields().table(&path);
            check(&mut fields);
            tables.push(described(&path, fields.known()));
        };
        let name = provider.name();
        of(format!("connections.{name}"), &|fields| {
            fields.text("type");
            provider.check_connection(fields);
        });
        of(format!("senders.{NAME}.on.{name}"), &|fields| provider.check_sender(fields));
        of(format!("receivers.{NAME}.on.{name}"), &|fields| provider.check_receiver(fields));
    }
    tables
}
