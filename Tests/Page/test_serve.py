"""What Scripts/test-serve does: see there."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "Tests/Pictures/lake.jpg"
SMALL = {"size": "96x64", "frames": 8, "steps": 2}
JOBS, CLIENTS, KILLS = 200, 20, 10
IDLE = 10_000


class Server:
    """A server at a port that stays the same when it is started again."""

    def __init__(self, folder, port=0):
        self.folder, self.port = folder, port
        self.start()

    def start(self):
        command = [os.environ["RUYI"], "serve", "--port", str(self.port), "--folder", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("http"), "the server does not start"
        self.port = int(line.rsplit(":", 1)[1].strip("/\n"))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.start()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, "the server does not stop as it should"

    def ask(self, method, path, body=None, headers=(), timeout=60):
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, dict(headers), method=method)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read())

    def patiently(self, *arguments, **options):
        """The same, again for as long as the server is away."""
        while True:
            try:
                return self.ask(*arguments, **options)
            except urllib.error.HTTPError:
                raise
            except (urllib.error.URLError, ConnectionError, TimeoutError, json.JSONDecodeError):
                time.sleep(0.1)

    def picture(self):
        return self.ask("POST", "/v1/pictures", PICTURE.read_bytes(), {"X-File-Name": "lake.jpg"})["id"]

    def all_over(self):
        return self.patiently("GET", "/v1/videos?limit=1&state=queued,running")["data"] == []

    def memory(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def openai(server):
    from openai import OpenAI

    client = OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none")
    assert any(model.id == "ruyi-nano" for model in client.models.list())
    with PICTURE.open("rb") as picture:
        video = client.videos.create(
            prompt="The camera moves.", model="ruyi-nano", seconds="1", size="96x64", input_reference=picture,
            extra_body={"steps": "2", "camera": "left"})
    while video.status in ("queued", "in_progress"):
        time.sleep(0.2)
        video = client.videos.retrieve(video.id)
    assert video.status == "completed" and video.progress == 100, video
    content = client.videos.download_content(video.id)
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        content.write_to_file(file.name)
        print(subprocess.run([os.environ["RUYI"], "inspect", file.name], capture_output=True, text=True).stdout[:200])
    assert video.id in [listed.id for listed in client.videos.list()]
    other = client.videos.remix(video.id, prompt="The camera moves on.")
    assert other.remixed_from_video_id == video.id
    assert client.videos.delete(video.id).deleted


def schema(server):
    """schemathesis: no answer may be a server error."""
    tool = Path(sys.executable).with_name("schemathesis")
    command = [
        tool, "run", f"http://127.0.0.1:{server.port}/openapi.json", "--checks", "not_a_server_error",
        "--exclude-path-regex", "events", "--max-examples", "60", "--request-timeout", "60", "--phases",
        "examples,coverage,fuzzing"]
    subprocess.run(command, check=True)


def killed(server):
    """Every job ends exactly once, although the process is killed again and again."""
    picture, wanted, lock = server.picture(), [], threading.Lock()

    def client(number):
        for index in range(JOBS // CLIENTS):
            request = SMALL | {"input_reference": picture, "seed": number * 1000 + index}
            video = server.patiently("POST", "/v1/videos", request, {"Idempotency-Key": f"{number}-{index}"})
            with lock:
                wanted.append(video["id"])

    clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in clients:
        thread.start()
    kills = 0
    while kills < KILLS:
        time.sleep(random.uniform(0.5, 6))
        server.kill()
        kills += 1
    for thread in clients:
        thread.join()
    while not server.all_over():
        time.sleep(0.5)
    listed = server.ask("GET", "/v1/videos?limit=1000")["data"]
    assert sorted(wanted) == sorted(video["id"] for video in listed), "a job is lost or doubled"
    assert len(set(wanted)) == JOBS and all(video["state"] == "done" for video in listed)
    clips = sorted(path.name for path in Path(server.folder).iterdir() if not path.name.startswith("."))
    assert clips == sorted(video["name"] for video in listed), "a clip is lost or doubled"
    print(f"{JOBS} jobs of {CLIENTS} clients, {KILLS} kills: each is done once")


def idle(server):
    """The page answers while thousands hold connections, and some send half a request."""
    picture = server.picture()
    running = server.ask("POST", "/v1/videos", SMALL | {"input_reference": picture, "steps": 60})
    held = []
    for index in range(IDLE):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        if index % 3 == 1:
            connection.sendall(b"POST /v1/pictures HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nhalf")
        if index % 3 == 2:
            connection.sendall(b"GET /v1/vid")
        held.append(connection)
    begin = time.monotonic()
    server.ask("GET", "/healthz")
    server.ask("GET", "/v1/videos")
    seconds = time.monotonic() - begin
    print(f"{len(held)} connections held: health and list in {seconds:.2f} s")
    assert seconds < 5
    while server.ask("GET", f"/v1/videos/{running['id']}")["state"] in ("queued", "running"):
        time.sleep(0.2)
    assert server.ask("GET", f"/v1/videos/{running['id']}")["state"] == "done"
    for connection in held:
        connection.close()


def memory(server):
    """What the process holds does not grow with the jobs."""
    picture, sizes = server.picture(), {}
    for index in range(50):
        server.ask("POST", "/v1/videos", SMALL | {"input_reference": picture, "seed": index})
        while not server.all_over():
            time.sleep(0.1)
        sizes[index + 1] = server.memory()
    print(f"resident after 5 jobs {sizes[5] / 1024:.1f} MB, after 50 {sizes[50] / 1024:.1f} MB")
    assert sizes[50] < 1.05 * sizes[5]


def main():
    checks = {check.__name__: check for check in (openai, schema, killed, idle, memory)}
    for name in sys.argv[1:] or checks:
        with tempfile.TemporaryDirectory() as folder:
            server = Server(folder)
            try:
                checks[name](server)
                server.stop()
            finally:
                server.process.kill()
        print(f"{name}: ok", flush=True)


if __name__ == "__main__":
    main()
