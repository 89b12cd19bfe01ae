"""A hub of models for hub_test.sh: serves a folder the way the Hugging Face hub answers.

usage: hub_server.py FOLDER

Prints its port and serves until its standard input closes. FOLDER holds OWNER/NAME/FILE. Large files
(*.safetensors) answer with a redirect that states size and SHA-256, small ones directly with git's blob
hash. Three files in FOLDER change the behaviour: `drop` holds the number of transfers that break off in
the middle, `corrupt` the number that are wrong, `token` the token that is asked for. Every GET is
appended to `log`, with the first byte it asked for.
"""

import hashlib
import http.server
import pathlib
import re
import sys
import threading

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def take(counter: pathlib.Path) -> bool:
    """Whether the counter file was above zero; lowers it."""
    left = int(counter.read_text()) if counter.exists() else 0
    if left > 0:
        counter.write_text(str(left - 1))
    return left > 0


class Handler(http.server.BaseHTTPRequestHandler):
    root: pathlib.Path

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        token = self.root / "token"
        if token.exists() and self.headers.get("Authorization") != f"Bearer {token.read_text()}":
            return self.end(401)
        storage = self.path.startswith("/storage/")
        match = re.fullmatch(r"/storage/(.+)|/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if not match or (match[3] or COMMIT) not in ("main", COMMIT):
            return self.end(404)
        name = match[1] or f"{match[2]}/{match[4]}"
        path = self.root / name
        if not path.is_file():
            return self.end(404)
        content = path.read_bytes()
        large = path.suffix == ".safetensors"
        if large and not storage:
            return self.end(
                302,
                {
                    "Location": f"/storage/{name}",
                    "X-Repo-Commit": COMMIT,
                    "X-Linked-Size": str(len(content)),
                    "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
                },
            )
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        headers = {"ETag": '"of-the-storage"' if large else f'"{blob}"', "X-Repo-Commit": COMMIT}
        start = 0
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        headers["Content-Length"] = str(len(content) - start)
        self.end(206 if start else 200, headers)
        if not body:
            return
        with (self.root / "log").open("a") as log:
            log.write(f"{name} {start}\n")
        if large and take(self.root / "corrupt"):
            content = bytes(len(content))
        if large and take(self.root / "drop"):
            self.wfile.write(content[start : start + (len(content) - start) // 2])
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def end(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {"Content-Length": "0"}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    Handler.root = pathlib.Path(sys.argv[1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
