//! What is wrong with a configuration, and how that is shown.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Where a value stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// Bytes of the file.
    File(Range<usize>),
    /// An environment variable, by name.
    Environment(String),
    /// A flag, as the operator typed it.
    Flag(String),
    /// A default, or the configuration as a whole.
    Nowhere,
}

impl Place {
    /// The order in which problems are shown: as the operator reads the file, then what was laid over it.
    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Nowhere => (0, 0),
            Self::File(span) => (1, span.start),
            Self::Environment(_) => (2, 0),
            Self::Flag(_) => (3, 0),
        }
    }

    pub(super) fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    place: Place,
    title: String,
    label: String,
    help: Option<String>,
}

impl Problem {
    pub(super) fn new(place: Place, title: String) -> Self {
        Self { place, title, label: String::new(), help: None }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// What stands beside the caret, or after the title where there is no file to point into.
    pub(super) fn label(mut self, label: String) -> Self {
        self.label = label;
        self
    }

    pub(super) fn help(mut self, help: String) -> Self {
        self.help = Some(help);
        self
    }

    fn render(&self, name: &str, text: &str, renderer: &Renderer) -> String {
        let help = self.help.as_deref().map(|help| Level::HELP.message(help));
        let group = match &self.place {
            Place::File(span) => Level::ERROR.primary_title(self.title.as_str()).element(
                Snippet::source(text)
                    .path(name)
                    .annotation(AnnotationKind::Primary.span(span.clone()).label(self.label.as_str())),
            ),
            Place::Environment(place) | Place::Flag(place) => {
                Level::ERROR.primary_title(format!("{place}: {}", self.sentence())).elements(NO_SNIPPET)
            }
            Place::Nowhere => Level::ERROR.primary_title(self.sentence()).elements(NO_SNIPPET),
        };
        renderer.render(&[group.elements(help)])
    }

    fn sentence(&self) -> String {
        match self.label.as_str() {
            "" => self.title.clone(),
            label => format!("{}: {label}", self.title),
        }
    }
}

const NO_SNIPPET: [Snippet<'static, annotate_snippets::Annotation<'static>>; 0] = [];

/// Everything that is wrong with a configuration. Shown as compilers show it: title, file with line and
/// column, the line with a caret, what to do.
#[derive(Debug)]
pub(crate) struct Problems {
    /// The file as the operator named it.
    pub(super) name: String,
    /// Its text.
    pub(super) text: String,
    /// At least one.
    pub(super) problems: Vec<Problem>,
}

impl Problems {
    pub(super) fn without_file(problem: Problem) -> Self {
        Self { name: String::new(), text: String::new(), problems: vec![problem] }
    }

    /// The whole message, several lines per problem, without a line break at the end.
    pub(crate) fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let rendered: Vec<String> =
            self.problems.iter().map(|problem| problem.render(&self.name, &self.text, &renderer)).collect();
        rendered.join("\n\n")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}
