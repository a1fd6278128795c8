"""Validates real answers of a server against its own documents, with no member in them that is not described.

Its arguments are the server's address and the names of events that must come. Prints a line of JSON with what was seen; then,
if it is told to (`--until-drain`), a line `stop`, and again a line once the last stream has ended.
"""

import json
import sys
import time
from urllib.parse import quote, urlencode

import jsonschema_rs
import requests
from websockets.sync.client import connect

BASE = sys.argv[1].rstrip("/")
TENANT = f"{BASE}/t/acme"
NO_ID = "AQEB"
LONGEST = 20
# More than a quiet server has records; heartbeats come beside them.
FEW = 10


class Description:
    """A document whose schemas allow nothing that they do not name."""

    def __init__(self, path):
        answer = requests.get(BASE + path, timeout=5)
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json", answer.headers
        self.document = closed(answer.json())
        self.validators = {}

    def at(self, *place):
        """The validator of the schema at a place of the document."""
        if place not in self.validators:
            pointer = "/".join(quote(step.replace("~", "~0").replace("/", "~1")) for step in place)
            schema = {"$ref": f"#/document/{pointer}", "document": self.document, "components": self.document["components"]}
            self.validators[place] = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
        return self.validators[place]

    def schema(self, name):
        return self.at("components", "schemas", name)


def closed(node):
    """The same schemas without room for members that are not described, unless one says that there is."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {name: closed(value) for name, value in node.items()}
    if result.get("type") == "object" and isinstance(result.get("properties"), dict):
        result.setdefault("additionalProperties", False)
    return result


def check(validator, instance, what):
    error = next(iter(validator.iter_errors(instance)), None)
    if error is not None:
        raise SystemExit(f"{what} is not as described: {error.message} at {error.instance_path}\n{json.dumps(instance)[:2000]}")
    seen[what] = seen.get(what, 0) + 1


def described(path, status, media, operation="get"):
    """The place of the schema of an answer's body."""
    response = api.document["paths"][path][operation]["responses"][str(status)]
    place = ["paths", path, operation, "responses", str(status)]
    if "$ref" in response:
        place = response["$ref"].split("/")[1:]
        response = api.document["components"]["responses"][place[-1]]
    assert media in response["content"], f"{path}: {status} has no {media}"
    check_headers = {name.lower() for name, header in response.get("headers", {}).items() if required(header)}
    return (*place, "content", media), check_headers


def required(header):
    return api.document["components"]["headers"][header["$ref"].split("/")[-1]].get("required", False)


def get(path, query, status=200, headers=None, **options):
    """An answer whose status, type and headers are described."""
    url = BASE + path.replace("{tenant}", options.pop("tenant", "acme"))
    answer = requests.get(f"{url}?{urlencode(query, doseq=True)}", headers=headers, timeout=10, **options)
    assert answer.status_code == status, f"{answer.url}: {answer.status_code} {answer.text[:500]}"
    media = answer.headers.get("content-type", "").split(";")[0]
    place, names = described(path, status, media)
    missing = names - {name.lower() for name in answer.headers}
    assert not missing, f"{answer.url}: {missing} is missing"
    return answer, place


def whole(path, query, **options):
    answer, place = get(path, query, **options)
    check(api.at(*place, "schema"), answer.json(), f"{path} {answer.status_code}")
    return answer.json()


def records(path, envelope, page_records, enveloped=()):
    """The records of a page, each by the schema of what was asked for."""
    names = {"record": "Record", "cloudevents": "CloudEvent"}
    for record in page_records:
        undecodable = isinstance(record, dict) and record.get("type") == "tailrace.undecodable"
        if undecodable:
            seen["tailrace.undecodable"] = seen.get("tailrace.undecodable", 0) + 1
        if envelope in names:
            check(api.schema("Undecodable" if undecodable else names[envelope]), record, f"{path} {envelope}")
    for one in enveloped:
        check(api.schema("Enveloped"), one, one["event"])


def pages():
    path = "/t/{tenant}/records"
    for envelope in ["none", "record", "cloudevents"]:
        page = whole(path, {"from": "earliest", "limit": 200, "envelope": envelope})
        records(path, envelope, page["records"], page.get("enveloped", ()))
        assert page["records"], "there are records"
        answer, place = get(path, {"from": "earliest", "limit": 50, "envelope": envelope, "format": "ndjson"})
        lines = [json.loads(line) for line in answer.text.splitlines()]
        for line in lines:
            check(api.at(*place, "itemSchema"), line, f"{path} lines")
        check(api.schema("PageEnd"), lines[-1], "the last line")
        records(path, envelope, lines[:-1], lines[-1].get("enveloped", ()))
    page = whole(path, {"last_event_id": NO_ID})
    assert page["gaps"][0]["code"] == "unknown_id", page
    first, _ = get(path, {"from": "earliest", "limit": 1})
    again = {"from": first.json()["next"], "limit": 1}
    kept, _ = get(path, again)
    same = requests.get(f"{TENANT}/records?{urlencode(again)}", headers={"If-None-Match": kept.headers["etag"]}, timeout=5)
    assert same.status_code == 304 and "304" in api.document["paths"][path]["get"]["responses"], same.status_code


def problems():
    for path, query, status in [
        ("/t/{tenant}/records", {"topics": "orders"}, 400),
        ("/t/{tenant}/records", {"where": "value.total==1"}, 400),
        ("/t/{tenant}/records", {"topic": "orderz"}, 404),
        ("/t/{tenant}/events", {"format": "json"}, 400),
        ("/t/{tenant}/topics", {"topic": "orders"}, 400),
        ("/t/{tenant}/ws", {}, 426),
    ]:
        whole(path, query, status=status)
    answer = requests.post(f"{TENANT}/records", timeout=5)
    place, names = described("/t/{tenant}/records", 405, answer.headers["content-type"])
    check(api.at(*place, "schema"), answer.json(), "405")
    assert names <= {name.lower() for name in answer.headers}, answer.headers


def blocks(answer):
    """The blocks of an event stream, as an EventSource makes them, comments left out."""
    block = {}
    for line in answer.iter_lines(chunk_size=1, decode_unicode=False):
        line = line.decode()
        if not line:
            if block:
                yield block
            block = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data" and "data" in block:
                value = f"{block['data']}\n{value}"
            block[name] = int(value) if name == "retry" else value


def block_is_described(block, place, envelope):
    if "data" not in block:
        assert set(block) <= {"id", "retry"}, block
        return
    check(api.at(*place, "itemSchema"), block, "a block")
    name = block.get("event", "")
    if name.startswith("tailrace."):
        one = next(one for one in api.document["components"]["schemas"]["StreamEvent"]["oneOf"]
                   if one["properties"]["event"].get("const") == name)
        data = one["properties"]["data"]["contentSchema"]["$ref"].split("/")[-1]
        check(api.schema(data), json.loads(block["data"]), name)
        message = ("components", "messages", f"{name}.events")
        check(events.at(*message, "payload"), json.loads(block["data"]), "a payload")
        fields = {field: value for field, value in block.items() if field != "data"}
        check(events.at(*message, "headers"), fields, "headers")
    elif envelope != "none":
        data = {"record": "Record", "cloudevents": "CloudEvent"}[envelope]
        check(api.schema(data), json.loads(block["data"]), f"a block, {envelope}")


def stream(query, until, tenant="acme", headers=None):
    """Reads a stream until it has what is waited for."""
    path = "/t/{tenant}/events"
    answer, place = get(path, query, tenant=tenant, headers=headers, stream=True)
    ends = time.monotonic() + LONGEST
    with answer:
        for block in blocks(answer):
            block_is_described(block, place, query.get("envelope", "none"))
            if until(block):
                return block
            assert time.monotonic() < ends, f"it does not come: {query}"
    assert until is ended, "the stream goes on"


def ended(_block):
    return False


def named(name):
    return lambda block: block.get("event") == name


def streams():
    for envelope in ["none", "record", "cloudevents"]:
        stream({"from": "-20", "envelope": envelope}, named("tailrace.synced"))
        stream({"from": "-5", "envelope": envelope, "event": "none"}, named("tailrace.synced"))
    stream({"heartbeat": ["1s", "event"], "type": "there-is-none"}, named("tailrace.heartbeat"))
    stream({"last_event_id": NO_ID}, named("tailrace.gap"))
    lines({"from": "-20", "envelope": "record", "heartbeat": ["1s", "event"]}, FEW)
    lines({"last_event_id": NO_ID}, 3)


def lines(query, count):
    answer, place = get("/t/{tenant}/events", query, headers={"Accept": "application/x-ndjson"}, stream=True)
    with answer:
        for line in answer.iter_lines(chunk_size=1):
            if line:
                check(api.at(*place, "itemSchema"), json.loads(line), "a line")
                count -= 1
            if count <= 0:
                return


def of_the_demo():
    """What only a server with traffic and several tenants has."""
    stream({}, named("tailrace.status"), tenant="nobody")
    stream({"from": "snapshot", "where": "value.state=created", "topic": "orders"}, named("tailrace.left"))
    path = "/t/{tenant}/events"
    taken = []
    while True:
        answer = requests.get(f"{BASE}/t/globex/events", timeout=5, stream=True)
        if answer.status_code == 429:
            break
        taken.append(answer)
        assert len(taken) < 50, "there is a limit"
    place, names = described(path, 429, answer.headers["content-type"])
    check(api.at(*place, "schema"), answer.json(), "429")
    assert names <= {name.lower() for name in answer.headers}, answer.headers
    stream({"last_event_id": NO_ID}, named("tailrace.error"), tenant="globex")
    for answer in taken:
        answer.close()


def web_socket(count, query=""):
    """Every message is one of those of the AsyncAPI document."""
    messages = events.document["channels"]["webSocketOfTenant"]["messages"]
    with connect(f"{TENANT.replace('http', 'ws', 1)}/ws?from=-20&envelope=record&heartbeat=1s&heartbeat=event{query}") as socket:
        for _ in range(count):
            message = json.loads(socket.recv(timeout=LONGEST))
            check(api.schema("StreamObject"), message, "a message")
            event = message.get("event", "record")
            name = "positions" if "data" not in message else event if event in messages else "record"
            check(events.at("components", "messages", f"{name}.webSocket", "payload"), message, f"message {name}")


def examples():
    """The documents' own examples are as their schemas say."""
    for name, message in events.document["components"]["messages"].items():
        for example in message["examples"]:
            for part in ["payload", "headers"]:
                if part in example:
                    check(events.at("components", "messages", name, part), example[part], "an example")


seen = {}
api, events = Description("/openapi.json"), Description("/asyncapi.json")
wanted = {name for name in sys.argv[2:] if not name.startswith("--")}
examples()
pages()
streams()
problems()
web_socket(FEW)
whole("/t/{tenant}/topics", {})
whole("/console.json", {})
if "--of-the-demo" in sys.argv:
    of_the_demo()
if "--until-drain" in sys.argv:
    answer, place = get("/t/{tenant}/events", {}, stream=True)
    print("stop", flush=True)
    with answer:
        for block in blocks(answer):
            block_is_described(block, place, "none")
missing = wanted - set(seen)
assert not missing, f"these did not come: {missing}"
print(json.dumps(seen), flush=True)
