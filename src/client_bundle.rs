//! Serves the files of the JavaScript client.

use std::{
    fmt,
    future::{Future, Ready, ready},
    io::{Cursor, ErrorKind, Result as IoResult, SeekFrom},
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower::ServiceExt;
use tower_http::services::{
    ServeDir,
    fs::{Backend, File, Metadata},
};

use crate::engine::error_body;

include!(concat!(env!("OUT_DIR"), "/client_files.rs"));

/// Everything that is served; anything else beneath the path is the engine's.
const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// What of a request matters to a file. Its date does not: the date of an embedded file means nothing.
const HEADERS: [HeaderName; 5] =
    [header::ACCEPT_ENCODING, header::IF_NONE_MATCH, header::IF_MATCH, header::RANGE, header::IF_RANGE];

/// Where the files of the JavaScript client come from.
#[derive(Debug, Clone, Default)]
pub(crate) enum ClientFiles {
    /// Those that were built into this crate.
    #[default]
    Embedded,
    Directory(PathBuf),
    Off,
}

/// The files of the client, or where to look for them.
pub(crate) struct ClientBundle {
    source: Source,
}

enum Source {
    Embedded,
    Directory(ServeDir),
    Off,
}

type FileFuture = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

impl ClientBundle {
    pub(crate) fn new(files: &ClientFiles) -> Self {
        let source = match files {
            ClientFiles::Embedded => Source::Embedded,
            ClientFiles::Directory(directory) => Source::Directory(ServeDir::new(directory)),
            ClientFiles::Off => Source::Off,
        };
        Self { source }
    }

    pub(crate) fn is_served(&self) -> bool {
        !matches!(self.source, Source::Off)
    }

    /// The file of a name, if it is one of the client's.
    pub(crate) fn find(&self, name: &str) -> Option<&'static str> {
        if !self.is_served() {
            return None;
        }
        NAMES.into_iter().find(|known| *known == name)
    }

    /// Answers a request for a file that [`find`](Self::find) has found.
    pub(crate) fn serve<B>(&self, name: &'static str, request: &Request<B>) -> FileFuture {
        let mut file_request = Request::new(Body::empty());
        file_request.method_mut().clone_from(request.method());
        *file_request.uri_mut() = format!("/{name}").parse().expect("the name of a file is a path");
        for header in &HEADERS {
            for value in request.headers().get_all(header) {
                file_request.headers_mut().append(header, value.clone());
            }
        }
        let response: Pin<Box<dyn Future<Output = Response> + Send>> = match &self.source {
            Source::Off | Source::Embedded if find(name).is_none() => return Box::pin(ready(not_built())),
            Source::Off | Source::Embedded => {
                Box::pin(serve(precompressed(ServeDir::with_backend("", Embedded)), file_request))
            }
            Source::Directory(directory) => Box::pin(serve(precompressed(directory.clone()), file_request)),
        };
        Box::pin(async move { finish(name, response.await) })
    }
}

async fn serve<Be: Backend>(
    directory: ServeDir<tower_http::services::fs::DefaultServeDirFallback, Be>,
    request: Request<Body>,
) -> Response {
    directory.oneshot(request).await.into_response()
}

fn precompressed<F, Be: Backend>(directory: ServeDir<F, Be>) -> ServeDir<F, Be> {
    directory.append_index_html_on_directories(false).precompressed_gzip().precompressed_br()
}

/// Sets the headers that Node's server sets.
fn finish(name: &str, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.remove(header::LAST_MODIFIED);
    if response.status().is_success() {
        let content_type = match name.ends_with(".map") {
            true => "application/json; charset=utf-8",
            false => "application/javascript; charset=utf-8",
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    }
    match response.status() {
        status if !status.is_client_error() => response,
        StatusCode::METHOD_NOT_ALLOWED => refused(response, 2, "Method not allowed"),
        StatusCode::NOT_FOUND => refused(response, 3, "The file is not in the directory"),
        status => refused(response, 3, status.canonical_reason().unwrap_or("Bad request")),
    }
}

fn not_built() -> Response {
    const MESSAGE: &str = "The JavaScript client was not built into this server. Run `make client` and build again, or \
                           name a directory that holds the files with `SocketIoConfig::client_directory`.";
    refused(StatusCode::NOT_FOUND.into_response(), 3, MESSAGE)
}

/// Says why, as the engine's refusals do.
fn refused(mut response: Response, code: u8, message: &str) -> Response {
    let body = error_body(code, message);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response.map(|_| Body::from(body))
}

fn find(name: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, content)| *content)
}

impl fmt::Debug for ClientBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBundle").finish_non_exhaustive()
    }
}

/// The files that were built into the crate, as a file system.
#[derive(Debug, Clone, Copy)]
struct Embedded;

impl Backend for Embedded {
    type File = EmbeddedFile;
    type Metadata = EmbeddedMetadata;
    type OpenFuture = Ready<IoResult<EmbeddedFile>>;
    type MetadataFuture = Ready<IoResult<EmbeddedMetadata>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        ready(open(&path).map(|content| EmbeddedFile(Cursor::new(content))))
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        ready(open(&path).map(|content| EmbeddedMetadata(content.len() as u64)))
    }
}

fn open(path: &std::path::Path) -> IoResult<&'static [u8]> {
    path.file_name().and_then(|name| name.to_str()).and_then(find).ok_or_else(|| ErrorKind::NotFound.into())
}

#[derive(Debug)]
struct EmbeddedMetadata(u64);

impl Metadata for EmbeddedMetadata {
    fn is_dir(&self) -> bool {
        false
    }

    /// A date that stands for the content: tower-http makes the ETag of it, and of the size.
    fn modified(&self) -> IoResult<SystemTime> {
        Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(CONTENT_HASH >> 32))
    }

    fn len(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct EmbeddedFile(Cursor<&'static [u8]>);

impl File for EmbeddedFile {
    type Metadata = EmbeddedMetadata;
    type MetadataFuture<'a> = Ready<IoResult<EmbeddedMetadata>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(EmbeddedMetadata(self.0.get_ref().len() as u64)))
    }
}

impl AsyncRead for EmbeddedFile {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncSeek for EmbeddedFile {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> IoResult<()> {
        Pin::new(&mut self.0).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<u64>> {
        Pin::new(&mut self.0).poll_complete(cx)
    }
}
