//! What each server is told: this folder, this port, in the foreground, no privilege.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::Program;

/// Writes the configuration and returns the arguments that name it.
pub(super) fn write(
    program: Program,
    folder: &Path,
    port: u16,
    rate: Option<u64>,
) -> Vec<OsString> {
    let text = match program {
        Program::Nginx => nginx(folder, port, rate),
        Program::Apache => apache(folder, port, rate),
        Program::Caddy => caddy(folder, port),
        Program::Lighttpd => lighttpd(folder, port, rate),
    };
    let file = folder.join("server.conf");
    fs::write(&file, text).unwrap();
    let before: &[&str] = match program {
        Program::Nginx => &["-e", "error.log", "-p", ".", "-c"],
        Program::Apache => &["-D", "FOREGROUND", "-f"],
        Program::Caddy => &["run", "--adapter", "caddyfile", "--config"],
        Program::Lighttpd => &["-D", "-f"],
    };
    let before = before.iter().map(OsString::from);
    before.chain([file.into_os_string()]).collect()
}

/// It sends `NAME.gz` for `NAME`, where there is one, with a content coding.
fn nginx(folder: &Path, port: u16, rate: Option<u64>) -> String {
    let folder = folder.display();
    let limit = rate
        .map(|rate| format!("limit_rate {rate};"))
        .unwrap_or_default();
    // One process: as root it would otherwise give its worker to a user who can't read the folder.
    format!(
        "daemon off;
        master_process off;
        pid {folder}/nginx.pid;
        error_log {folder}/error.log;
        events {{ worker_connections 256; }}
        http {{
            access_log off;
            client_body_temp_path {folder}/body;
            proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            server {{
                listen 127.0.0.1:{port};
                root {folder}/www;
                gzip_static always;
                {limit}
            }}
        }}
        "
    )
}

/// It sends `NAME.tgz` with a content coding.
fn apache(folder: &Path, port: u16, rate: Option<u64>) -> String {
    const MODULES: &str = "/usr/lib/apache2/modules";
    let folder = folder.display();
    // It counts in KiB.
    let limit = rate
        .map(|rate| {
            format!(
                "LoadModule env_module {MODULES}/mod_env.so
        LoadModule ratelimit_module {MODULES}/mod_ratelimit.so
        SetOutputFilter RATE_LIMIT
        SetEnv rate-limit {}",
                rate / 1024
            )
        })
        .unwrap_or_default();
    // As root it demands to be given somebody else's rights; as anybody else it ignores these two
    // lines.
    format!(
        "ServerRoot {folder}
        DefaultRuntimeDir {folder}
        ServerName 127.0.0.1
        Listen 127.0.0.1:{port}
        User www-data
        Group www-data
        PidFile {folder}/apache.pid
        ErrorLog {folder}/error.log
        LoadModule mpm_event_module {MODULES}/mod_mpm_event.so
        LoadModule authz_core_module {MODULES}/mod_authz_core.so
        LoadModule mime_module {MODULES}/mod_mime.so
        TypesConfig /dev/null
        AddEncoding x-gzip .tgz
        {limit}
        StartServers 1
        ServerLimit 1
        ThreadLimit 64
        ThreadsPerChild 64
        MaxRequestWorkers 64
        DocumentRoot {folder}/www
        <Directory {folder}/www>
            Require all granted
        </Directory>
        "
    )
}

fn caddy(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "{{
            admin off
            auto_https off
        }}
        http://127.0.0.1:{port} {{
            bind 127.0.0.1
            root * {folder}/www
            file_server
        }}
        "
    )
}

fn lighttpd(folder: &Path, port: u16, rate: Option<u64>) -> String {
    let folder = folder.display();
    // It counts in KiB. Only a file whose type it knows gets an entity tag.
    let limit = rate
        .map(|rate| format!("connection.kbytes-per-second = {}", rate / 1024))
        .unwrap_or_default();
    format!(
        "server.document-root = \"{folder}/www\"
        server.bind = \"127.0.0.1\"
        server.port = {port}
        server.errorlog = \"{folder}/error.log\"
        mimetype.assign = (\"\" => \"application/octet-stream\")
        {limit}
        "
    )
}
