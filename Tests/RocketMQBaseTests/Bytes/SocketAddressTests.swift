import RocketMQBase
import Testing

@Suite struct SocketAddressTests {
    @Test(arguments: [
        ("127.0.0.1:9876", "127.0.0.1:9876"), ("0.0.0.0:0", "0.0.0.0:0"), ("255.255.255.255:65535", "255.255.255.255:65535"),
        ("[::1]:9876", "[::1]:9876"), ("[::]:1", "[::]:1"), ("[fe80::1:2]:1", "[fe80::1:2]:1"),
        ("[2001:0DB8:0:0:0:0:0:1]:80", "[2001:db8::1]:80"), ("[2001:db8:0:1:1:1:1:1]:80", "[2001:db8:0:1:1:1:1:1]:80"),
        ("[1:0:0:2:0:0:0:3]:80", "[1:0:0:2::3]:80"), ("[1::]:80", "[1::]:80"), ("[1:2:3:4:5:6:7:8]:80", "[1:2:3:4:5:6:7:8]:80"),
    ])
    func `numeric addresses are read and written`(text: String, written: String) throws {
        let address = try #require(SocketAddress(text))
        #expect(address.description == written)
        #expect(SocketAddress(written) == address)
        #expect(address.isIPv6 == text.hasPrefix("["))
    }

    @Test(arguments: [
        "", ":", "localhost:1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0:1", "127.0.0.0.1:1", "256.0.0.1:1",
        "1.2.3.4.:1", "1..2.3:1", "[:::1]:1", "[1:2:3:4:5:6:7]:1", "[1:2:3:4:5:6:7:8:9]:1", "[1::2::3]:1", "[12345::]:1", "[g::]:1",
        "[1:2:3:4:5:6:7::8]:1x", ":1", "[]:1", "127.0.0.1:+80", "1.2.3.+4:1", "[1::+abc]:1",
    ])
    func `anything else is refused`(text: String) {
        #expect(SocketAddress(text) == nil)
    }

    @Test func `hosts without a port`() {
        #expect(SocketAddress.Host("10.0.0.1") == .ipv4(0x0A00_0001))
        #expect(SocketAddress.Host("::1") == .ipv6(0, 1))
        #expect(SocketAddress.loopback(port: 5).description == "127.0.0.1:5")
        #expect(SocketAddress.anyIPv4(port: 5).hostText == "0.0.0.0")
    }

    @Test func `every address is read back`() {
        var random = RandomSource(seed: 3)
        for _ in 0..<2000 {
            // Many zero groups, so that the shortened form is met.
            func half() -> UInt64 {
                (0..<4).reduce(0) { bits, _ in
                    bits << 16 | (Bool.random(using: &random) ? 0 : UInt64.random(in: 0...0xFFFF, using: &random))
                }
            }
            let six = SocketAddress(host: .ipv6(half(), half()), port: .random(in: 0...65535, using: &random))
            #expect(SocketAddress(six.description) == six)
            let four = SocketAddress(host: .ipv4(UInt32.random(in: 0 ... .max, using: &random)), port: six.port)
            #expect(SocketAddress(four.description) == four)
        }
    }
}
