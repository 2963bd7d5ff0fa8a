import Systemd
import Testing

struct LocalAddressesTests {
    @Test(arguments: [
        ("127.0.0.1", true), ("127.0.0.2", false), ("192.0.2.1", false), ("2001:db8::1", false), ("", false),
        ("localhost", false), ("127.0.0.1:80", false),
    ])
    func `an address is one of the machine's or not`(text: String, isLocal: Bool) {
        #expect(LocalAddresses.contains(text) == isLocal)
    }
}
