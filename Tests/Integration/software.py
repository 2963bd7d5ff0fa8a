"""What people really run, from Debian's packages and PyPI: it comes up, answers, logs, restarts, and stops cleanly.

SOFTWARE_RELEASE is the release of Debian. Takes some minutes: the packages are installed first.
"""

import json
import os
import socket
import subprocess
import unittest
import urllib.request

from support import VM, MachineTestCase, eventually

PACKAGES = (
    "nginx-light redis-server memcached postgresql mariadb-server nodejs haproxy caddy default-jdk-headless python3-venv"
    " xvfb openbox x11vnc"
)
PYTHON = "gunicorn uvicorn celery redis jupyter-server"
# What of this machine lets pip inside reach PyPI.
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

FILES = {
    "/srv/nginx.conf": """
pid /tmp/nginx/pid;
error_log stderr;
events {}
http {
  access_log /dev/stdout;
  client_body_temp_path /tmp/nginx; proxy_temp_path /tmp/nginx; fastcgi_temp_path /tmp/nginx;
  uwsgi_temp_path /tmp/nginx; scgi_temp_path /tmp/nginx;
  server { listen 127.0.0.1:18080; location / { return 200 "nginx"; } }
}
""",
    "/srv/haproxy.cfg": """
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend f
  bind 127.0.0.1:18086
  http-request return status 200 content-type text/plain string "haproxy"
""",
    "/srv/server.js": (
        "require('http').createServer((q, r) => { console.log(q.url); r.end('node'); }).listen(18081, '127.0.0.1')"
    ),
    "/srv/app.py": (
        "def app(environ, start):\n    start('200 OK', [])\n    return [b'gunicorn']\n"
    ),
    "/srv/asgi.py": (
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'uvicorn'})\n"
    ),
    "/srv/tasks.py": (
        "import time\nfrom celery import Celery\n"
        "app = Celery('tasks', broker='redis://127.0.0.1:16379/0')\n"
        "@app.task\ndef slow(path):\n    open(path + '.begun', 'w').close()\n    time.sleep(5)\n"
        "    open(path, 'w').close()\n"
    ),
    "/srv/Server.java": """
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
class Server {
  public static void main(String[] args) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 18087), 0);
    server.createContext("/", exchange -> {
      System.out.println(exchange.getRequestURI());
      exchange.sendResponseHeaders(200, 4);
      exchange.getResponseBody().write("java".getBytes());
      exchange.close();
    });
    server.start();
  }
}
""",
    "/srv/www/index.html": "caddy",
}


def http(port, path="/"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
        return reply.read().decode()


def say(port, text, expected):
    """What a server of lines answers; its greeting for no text. The network is the machine's and this one's."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        if text:
            connection.sendall(text.encode())
        return connection.recv(1000).decode(errors="replace").startswith(expected)


class Software(MachineTestCase):
    release = os.environ.get("SOFTWARE_RELEASE") or "bookworm"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Packages do not start what they bring; the directory is one that Java's expects, and the image has no manuals.
        cls.machine.shell("mkdir -p /usr/share/man/man1; printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d")
        cls.run_long(
            "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update &&"
            f" apt-get -qq -y --no-install-recommends install {PACKAGES}"
        )
        with open(CERTIFICATES) as file:
            cls.write("/opt/certificates.crt", file.read())
        cls.run_long(
            f"python3 -m venv /opt/venv && PIP_CERT=/opt/certificates.crt /opt/venv/bin/pip -q install {PYTHON}"
        )
        for path, text in FILES.items():
            cls.write(path, text)

    @classmethod
    def run_long(cls, script):
        done = subprocess.run(
            [VM, "exec", cls.machine.name, "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=1200,
        )
        assert done.returncode == 0, done.stdout[-2000:]

    @classmethod
    def write(cls, path, text):
        script = 'mkdir -p "$(dirname "$0")"; cat > "$0"'
        subprocess.run(
            [VM, "exec", cls.machine.name, "sh", "-c", script, path], input=text, text=True, check=True, timeout=60
        )

    def use(self, name, command, talk, *, logs=True, kinds=("none",), message=None, **fields):
        """The life of a service: create, use, log, restart, stop; in each kind of sandbox."""
        for sandbox in kinds:
            with self.subTest(sandbox=sandbox):
                spec = {"name": name, "command": command, "sandbox": sandbox, **fields}
                reply = self.machine.call("POST", "/v1/services?wait=ready&timeout=90", spec)
                self.assertEqual((reply.status, reply.data["status"]), (201, "running"), reply)
                eventually(talk, f"{name} answers")
                if logs:
                    eventually(lambda: self.log(name), f"{name} has a log")
                again = self.machine.call("POST", f"/v1/services/{name}/restart?wait=ready&timeout=90")
                self.assertEqual(again.status, 200, again)
                self.assertNotEqual(again.data["pid"], reply.data["pid"])
                self.assertEqual((again.data["restarts"], again.data["message"]), (0, None))
                eventually(talk, f"{name} answers again")
                self.stop(name, message)
                self.machine.delete(name)

    def log(self, name):
        return self.machine.call("GET", f"/v1/services/{name}/logs?tail=200").text

    def stop(self, name, message=None):
        service = self.machine.call("POST", f"/v1/services/{name}/stop").data
        self.assertEqual((service["status"], service["message"], service["result"]), ("stopped", message, "success"))

    BOTH = ("none", "basic")

    def test_nginx(self):
        self.use(
            "nginx", "nginx -c /srv/nginx.conf -g 'daemon off;'", lambda: http(18080) == "nginx", port=18080,
            stdio="pipe", stop_signal="QUIT", pre_start=["mkdir -p /tmp/nginx"], kinds=self.BOTH,
        )

    def test_redis(self):
        self.use(
            "redis", "redis-server --port 16379 --save 60 1 --dir /home/user",
            lambda: say(16379, "PING\r\n", "+PONG"), port=16379, kinds=self.BOTH, cwd="/home/user",
        )

    def test_memcached(self):
        self.use(
            "memcached", "memcached -v -p 21211 -U 0 -l 127.0.0.1", lambda: say(21211, "version\r\n", "VERSION"),
            port=21211, logs=False, kinds=self.BOTH,
        )

    def test_postgresql(self):
        select = ["su", "user", "-c", "psql -h /tmp -p 15432 -Atc 'select 41 + 1' postgres 2>/dev/null"]
        self.use(
            "postgres", "exec /usr/lib/postgresql/*/bin/postgres -D /home/user/pg -p 15432 -k /tmp",
            lambda: self.machine.exec(*select, check=False).strip() == "42", port=15432, stop_signal="INT",
            pre_start=["test -e /home/user/pg/PG_VERSION || /usr/lib/postgresql/*/bin/initdb -D /home/user/pg"],
            kinds=self.BOTH,
        )

    def test_mariadb(self):
        select = ["su", "user", "-c", "mariadb --socket=/tmp/my.sock -u root -Ne 'select 41 + 1' 2>/dev/null"]
        install = "mariadb-install-db --no-defaults --auth-root-authentication-method=normal --datadir=/home/user/my"
        self.use(
            "mariadb",
            "mariadbd --no-defaults --datadir=/home/user/my --port=13306 --bind-address=127.0.0.1 --socket=/tmp/my.sock",
            lambda: self.machine.exec(*select, check=False).strip() == "42", port=13306, stop_timeout=60,
            pre_start=[f"test -e /home/user/my/mysql || {install}"], kinds=self.BOTH,
        )

    def test_node(self):
        self.use("node", "node /srv/server.js", lambda: http(18081) == "node", port=18081, kinds=self.BOTH)

    def test_gunicorn(self):
        self.use(
            "gunicorn", "source /opt/venv/bin/activate && exec gunicorn -w 2 -b 127.0.0.1:18082 app:app",
            lambda: http(18082) == "gunicorn", port=18082, cwd="/srv", shell="bash", kinds=self.BOTH,
        )

    def test_uvicorn(self):
        self.use(
            "uvicorn", "/opt/venv/bin/uvicorn --port 18083 asgi:app", lambda: http(18083) == "uvicorn", port=18083,
            cwd="/srv", kinds=self.BOTH,
        )

    def test_celery_finishes_its_task(self):
        self.machine.create("broker", "redis-server --port 16379 --save '' --dir /tmp", port=16379)
        self.machine.call("POST", "/v1/services/broker/restart?wait=ready")
        self.machine.create(
            "worker", "source /opt/venv/bin/activate && exec celery -A tasks worker --loglevel=INFO --concurrency=2",
            cwd="/srv", shell="bash", stop_mode="main", stop_timeout=60,
        )
        eventually(lambda: "ready." in self.log("worker"), "the worker is ready")
        send = "import tasks; tasks.slow.delay('/home/user/task')"
        self.machine.exec("sh", "-c", 'cd /srv && /opt/venv/bin/python -c "$0"', send)
        eventually(lambda: "begun" in self.machine.shell("ls /home/user"), "the task has begun")
        self.stop("worker")
        self.assertIn("task\n", self.machine.shell("ls -1 /home/user"))

    def test_jupyter(self):
        self.use(
            "jupyter", "/opt/venv/bin/jupyter server --no-browser --port=18084 --ServerApp.token=x",
            lambda: "version" in json.loads(http(18084, "/api")), port=18084, cwd="/home/user", kinds=self.BOTH,
        )

    def test_java(self):
        self.use(
            "java", "java /srv/Server.java", lambda: http(18087) == "java", port=18087, kinds=self.BOTH,
            start_timeout=120,
        )

    def test_caddy(self):
        self.use(
            "caddy", "caddy file-server --listen 127.0.0.1:18085 --root /srv/www", lambda: http(18085) == "caddy",
            port=18085, kinds=self.BOTH,
        )

    def test_haproxy(self):
        self.use(
            "haproxy", "haproxy -db -f /srv/haproxy.cfg", lambda: http(18086) == "haproxy", port=18086,
            stop_signal="USR1", logs=False, kinds=self.BOTH,
        )

    def test_a_desktop(self):
        self.machine.create("xvfb", "Xvfb :99 -screen 0 800x600x24")
        self.machine.wait("xvfb", status="running")
        # Not in order: those that come too early are started again.
        self.machine.create("openbox", "openbox", env={"DISPLAY": ":99"}, restart_limit=None)
        self.use(
            "x11vnc", "x11vnc -display :99 -forever -localhost -rfbport 15999", lambda: say(15999, "", "RFB 003"),
            port=15999, restart_limit=None, message="ended with exit code 2 when it was stopped",
        )
        self.machine.wait("openbox", status="running")
        self.stop("openbox")
        self.stop("xvfb")


if __name__ == "__main__":
    unittest.main()
