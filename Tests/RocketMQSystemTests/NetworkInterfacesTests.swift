import RocketMQBase
import Testing

@testable import RocketMQSystem

/// Which of its addresses a server tells its clients.
@Suite struct NetworkInterfacesTests {
    private typealias Candidate = NetworkInterfaces.Candidate
    private static let loopback = Candidate(host: .ipv4(0x7F00_0001), interface: "lo", isLoopback: true)
    private static let docker = Candidate(host: .ipv4(0xAC11_0001), interface: "docker0", isLoopback: false)
    private static let first = Candidate(host: .ipv4(0x0A00_0001), interface: "eth0", isLoopback: false)
    private static let second = Candidate(host: .ipv4(0x0A00_0002), interface: "eth1", isLoopback: false)
    private static let six = Candidate(host: .ipv6(0x2001_0DB8 << 32, 1), interface: "eth0", isLoopback: false)

    @Test("The default route's interface counts, then real ones, then bridges, then the loopback; IPv4 before IPv6")
    func choice() {
        func chosen(_ candidates: [NetworkInterfaces.Candidate], _ route: String?) -> String {
            let choice = NetworkInterfaces.choose(among: candidates, defaultInterface: route)
            return "\(SocketAddress(host: choice.host, port: 0).hostText) \(choice.interface)"
        }
        let all = [Self.loopback, Self.docker, Self.first, Self.second, Self.six]
        #expect(chosen(all, "eth1") == "10.0.0.2 eth1")
        #expect(chosen(all, "eth0") == "10.0.0.1 eth0")
        #expect(chosen(all, nil) == "10.0.0.1 eth0")
        #expect(chosen(all.reversed(), nil) == "10.0.0.2 eth1")
        #expect(chosen([Self.loopback, Self.docker], nil) == "172.17.0.1 docker0")
        #expect(chosen([Self.loopback, Self.docker, Self.first], "docker0") == "10.0.0.1 eth0")
        #expect(chosen([Self.loopback, Self.six], nil).hasSuffix(" eth0"))
        #expect(chosen([Self.loopback], "eth0") == "127.0.0.1 lo")
        #expect(chosen([], nil) == "127.0.0.1 lo")
    }

    @Test("Others that could have been chosen are named, but for the loopback")
    func others() {
        let choice = NetworkInterfaces.choose(among: [Self.loopback, Self.docker, Self.first, Self.second], defaultInterface: "eth1")
        #expect(choice.others == ["10.0.0.1 (eth0)", "172.17.0.1 (docker0)"])
    }

    @Test("This machine has an address")
    func real() {
        let choice = NetworkInterfaces.choose()
        #expect(!choice.interface.isEmpty)
        #expect(SocketAddress(host: choice.host, port: 80).hostText.isEmpty == false)
    }
}
