"""The wire: what the daemon does with the bytes that clients, good and bad, send it."""

import json
import unittest

from support import MachineTestCase

LONGEST_BODY = 1024 * 1024


class Wire(MachineTestCase):
    def exchange(self, *pieces, tcp=False):
        """Sends bytes and gives back everything that comes until the server closes."""
        with self.machine.raw(tcp) as connection:
            for piece in pieces:
                connection.sendall(piece if isinstance(piece, bytes) else piece.encode())
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer.decode()

    def request(self, line, *fields, body="", close=True):
        fields = ["Host: localhost", *fields] + (["Connection: close"] if close else [])
        return "\r\n".join([line, *fields, "", body])

    def status(self, answer):
        return int(answer.split(" ", 2)[1])

    def test_a_malformed_request_gets_a_400_and_the_connection_is_closed(self):
        for text in (
            "GET /v1/services\r\n\r\n",
            "GET /v1/services HTTP/1.1\r\n\r\n",
            "GET  /v1/services HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /v1/services HTTP/1.1\nHost: localhost\n\n",
            "GET /v1/services HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET /v1/services HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
            "GET /v1/%2e%2e/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "POST /v1/services HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
            "POST /v1/services HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            "\x00\x01\x02\r\n\r\n",
        ):
            with self.subTest(text):
                answer = self.exchange(text)
                self.assertTrue(answer.startswith("HTTP/1.1 400 Bad Request\r\n"), answer)
                self.assertIn("Connection: close\r\n", answer)
                error = json.loads(answer.partition("\r\n\r\n")[2])
                self.assertEqual(error["code"], "BAD_REQUEST")
                self.assertIn(f"X-Request-Id: {error['request_id']}\r\n", answer)

    def test_requests_on_one_connection_are_answered_in_order(self):
        self.machine.create("web", "sleep 1000")
        first = self.request("GET /v1/services/web HTTP/1.1", close=False)
        second = self.request("POST /v1/services/web/restart HTTP/1.1", "Content-Length: 0", close=False)
        third = self.request("GET /v1/services/none HTTP/1.1")
        answer = self.exchange(first + second + third)
        statuses = [part.split(" ", 1)[0] for part in answer.split("HTTP/1.1 ")[1:]]
        self.assertEqual(statuses, ["200", "200", "404"])

    def test_a_request_that_arrives_byte_by_byte_is_answered(self):
        body = '{"name":"slow","command":"true"}'
        text = self.request("POST /v1/services HTTP/1.1", f"Content-Length: {len(body)}", body=body)
        self.assertEqual(self.status(self.exchange(*text)), 201)

    def test_a_chunked_body_is_read(self):
        body = '7\r\n{"name"\r\n18;x=y\r\n:"chunky","command":"tru\r\n3\r\ne"}\r\n0\r\nX-Trailer: y\r\n\r\n'
        text = self.request("POST /v1/services HTTP/1.1", "Transfer-Encoding: chunked", body=body)
        self.assertEqual(self.status(self.exchange(text)), 201)
        self.assertEqual(self.machine.get("chunky")["command"], "true")

    def test_the_body_is_asked_for_with_100_continue(self):
        body = '{"name":"patient","command":"true"}'
        head = self.request(
            "POST /v1/services HTTP/1.1", f"Content-Length: {len(body)}", "Expect: 100-continue"
        )
        with self.machine.raw() as connection:
            connection.sendall(head.encode())
            self.assertEqual(connection.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.sendall(body.encode())
            self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 201 "))

    def test_the_body_is_not_asked_for_when_the_request_is_refused_anyway(self):
        head = self.request(
            "POST /v1/nothing HTTP/1.1", "Content-Length: 10", "Expect: 100-continue", close=False
        )
        answer = self.exchange(head)
        self.assertTrue(answer.startswith("HTTP/1.1 404 "), answer)
        self.assertIn("Connection: close\r\n", answer)

    def test_head_has_the_fields_of_get_and_no_body(self):
        get = self.exchange(self.request("GET /v1/services HTTP/1.1"))
        head = self.exchange(self.request("HEAD /v1/services HTTP/1.1"))
        self.assertTrue(head.endswith("\r\n\r\n"))
        length = next(line for line in get.split("\r\n") if line.startswith("Content-Length"))
        self.assertIn(length, head)

    def test_http_1_0_is_answered_and_closed(self):
        answer = self.exchange("GET /v1/services HTTP/1.0\r\n\r\n")
        self.assertEqual(self.status(answer), 200)
        self.assertIn("Connection: close\r\n", answer)

    def test_a_body_at_the_limit_is_read_and_one_byte_more_is_413(self):
        for length, status in ((LONGEST_BODY, 422), (LONGEST_BODY + 1, 413)):
            body = '{"name":"' + "x" * (length - 11) + '"}'
            answer = self.machine.call("POST", "/v1/services", body)
            self.assertEqual(answer.status, status, answer.headers)
        self.assertEqual(answer.json["code"], "CONTENT_TOO_LARGE")

    def test_a_target_or_header_over_its_limit_is_refused(self):
        for target, status in (("/" + "x" * 8191, 404), ("/" + "x" * 8192, 414)):
            self.assertEqual(self.status(self.exchange(self.request(f"GET {target} HTTP/1.1"))), status)
        self.assertEqual(
            self.status(self.exchange(self.request("GET /v1/services HTTP/1.1", "X: " + "y" * 32768))), 431
        )

    def test_a_large_answer_reaches_a_slow_reader_whole(self):
        for number in range(20):
            self.machine.create(f"big{number}", "true " + "x" * 60000)
        with self.machine.raw() as connection:
            connection.sendall(self.request("GET /v1/services HTTP/1.1").encode())
            answer = b""
            while chunk := connection.recv(1000):
                answer += chunk
        services = json.loads(answer.partition(b"\r\n\r\n")[2])["data"]
        self.assertEqual([len(service["command"]) for service in services], [60005] * 20)

    def test_a_client_that_shuts_down_its_side_still_gets_its_answer(self):
        with self.machine.raw() as connection:
            connection.sendall(self.request("GET /v1/services HTTP/1.1", close=False).encode())
            connection.shutdown(1)
            self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 200 "))

    def test_a_request_id_is_taken_over_where_it_is_sane(self):
        for given, taken in (("abc-1", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ("", False)):
            reply = self.machine.call("GET", "/v1/services", headers={"X-Request-Id": given})
            self.assertEqual(reply.headers["X-Request-Id"] == given, taken, given)


class Access(MachineTestCase):
    def test_the_unix_socket_is_guarded_by_its_mode(self):
        self.assertEqual(
            self.machine.exec("stat", "-c", "%a %U %G", "/run/miosa-agent/api.sock").strip(), "660 root miosa-agent"
        )
        refused = self.machine.shell(
            "su -s /bin/sh user -c 'curl -sS --unix-socket /run/miosa-agent/api.sock http://localhost/v1/services' 2>&1",
            check=False,
        )
        self.assertIn("Couldn't connect", refused + "Couldn't connect" * ("ermission" in refused))

    def test_tcp_wants_the_token(self):
        for authorization in ("", "Bearer", "Bearer wrong", f"Basic {self.machine.token}", self.machine.token,
                              f"Bearer {self.machine.token}x", f"Bearer {self.machine.token[:-1]}"):
            reply = self.machine.call("GET", "/v1/services", tcp=True, headers={"Authorization": authorization})
            self.assertEqual((reply.status, reply.json["code"]), (401, "UNAUTHORIZED"), authorization)
            self.assertEqual(reply.headers["WWW-Authenticate"], "Bearer")
        self.assertEqual(self.machine.call("GET", "/v1/services", tcp=True).status, 200)
        reply = self.machine.call("GET", "/nowhere", tcp=True, headers={"Authorization": ""})
        self.assertEqual(reply.status, 401, "a stranger does not learn what exists")

    def test_health_needs_no_token(self):
        for path in ("/healthz", "/readyz"):
            reply = self.machine.call("GET", path, tcp=True, headers={"Authorization": ""})
            self.assertEqual((reply.status, reply.json["status"]), (200, "ok"))

    def test_an_unknown_path_is_404_and_another_method_405(self):
        reply = self.machine.call("GET", "/v1/nothing")
        self.assertEqual((reply.status, reply.json["code"]), (404, "NOT_FOUND"))
        reply = self.machine.call("PATCH", "/v1/services")
        self.assertEqual((reply.status, reply.json["code"]), (405, "METHOD_NOT_ALLOWED"))
        self.assertEqual(set(reply.headers["Allow"].split(", ")), {"GET", "HEAD", "POST"})

    def test_both_mounts_are_served(self):
        self.machine.create("web", "sleep 1000")
        computer = self.machine.get("web")["computer_id"]
        for prefix in ("/v1", "/api/v1/computers/self", f"/api/v1/computers/{computer}"):
            self.assertEqual(self.machine.call("GET", f"{prefix}/services/web").status, 200)
        reply = self.machine.call("GET", "/api/v1/computers/other/services/web")
        self.assertEqual((reply.status, reply.json["code"]), (404, "COMPUTER_NOT_FOUND"))


if __name__ == "__main__":
    unittest.main()
