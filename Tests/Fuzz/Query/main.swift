import FuzzSupport
import Glibc
import HTTP

/// An input is the query of a request target. These hold:
///
/// 1. It is accepted with a path before it exactly if it is by itself, and has the same pairs.
/// 2. Its pairs are what an independent decoder makes of the text (`Form`), and are the same once they are encoded in
///    another spelling and decoded again. Any text that has no NUL survives being encoded and decoded.
/// 3. The pairs of two queries with `&` between them are the pairs of both.
/// 4. What is accepted as the parameters of a log, of a wait and of a list is within the documented ranges
///    (`Parameters`), and means the same when it is written out and read again. A date is the moment that the C library
///    takes it for (`Clock`).
func property(_ input: [UInt8]) {
    if let text = String(validating: input, as: UTF8.self), !input.contains(0) {
        require((try? Query(parsing: Form.encode(text)))?.first?.name == (text.isEmpty ? nil : text), "a text survives")
    }
    let raw = String(decoding: input, as: UTF8.self)
    let query = try? Query(parsing: raw)
    if !raw.utf8.contains(UInt8(ascii: "#")) {
        let target = try? RequestTarget(parsing: "/v1?\(raw)", method: .get)
        require(target?.query == query, "a target has the same query", raw)
    }
    let pairs = Form.decode(input)
    require((query == nil) == (pairs == nil), "what is no query is refused, and nothing else", raw)
    guard let query, let pairs else { return }
    let found = query.map { Form.Pair(name: Array($0.name.utf8), value: Array($0.value.utf8)) }
    require(found == pairs, "the pairs are those of the text", raw)
    let again = try? Query(
        parsing: query.map { Form.encode($0.name) + "=" + Form.encode($0.value) }.joined(separator: "&")
    )
    require(again == query, "the pairs are the same in another spelling", raw)
    let twice = try? Query(parsing: "\(raw)&\(raw)")
    require(twice.map { $0.count == 2 * query.count } ?? false, "two queries are one", raw)
    require(zip(twice ?? Query(), Array(query) + Array(query)).allSatisfy { $0 == $1 }, "in the same order", raw)
    Parameters.check(query)
}

exit(Fuzzer.run(property))
