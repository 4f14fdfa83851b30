use std::{env, sync::Arc};

use strait_core::{Observer, Result, Unobserved};

use crate::{Bus, IntoFiles, document::Document, expand::Environment, fields::report, provider::Registry, schema};

/// Makes a [`Bus`] in code.
pub struct Builder {
    registry: Registry,
    document: Document,
    environment: Box<Environment>,
    observer: Arc<dyn Observer>,
    problems: Vec<String>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            document: Document::default(),
            environment: Box::new(|name| env::var(name).ok()),
            observer: Arc::new(Unobserved),
            problems: Vec::new(),
        }
    }

    /// Adds files; later ones win by key.
    pub fn files(mut self, files: impl IntoFiles) -> Self {
        for file in files.into_files() {
            self.document.add_file(&file, &mut self.problems);
        }
        self
    }

    /// Adds the text of a file, called `name` in errors.
    pub fn text(mut self, name: &str, text: &str) -> Self {
        self.document.add_text(name, text, &mut self.problems);
        self
    }

    /// Takes variables from here instead of the process's environment.
    pub fn environment(mut self, environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.environment = Box::new(environment);
        self
    }

    /// Tells this observer what every channel measures.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Reads and checks everything. Nothing is opened yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](strait_core::ErrorKind::Config) with a line for each thing that is wrong.
    pub fn build(mut self) -> Result<Bus> {
        if let Some(settings) = (self.environment)("STRAIT_SET") {
            self.document.add_settings(&settings, &mut self.problems);
        }
        self.document.expand(&*self.environment, &mut self.problems);
        report(&self.problems)?;
        let schema = schema::read(&self.document, &self.registry, &mut self.problems);
        report(&self.problems)?;
        let Self { registry, observer, .. } = self;
        Ok(Bus::new(schema, registry, observer))
    }
}
