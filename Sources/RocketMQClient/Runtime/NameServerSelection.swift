import RocketMQBase

/// Which nameserver to ask: one is kept until it fails, then the next has its turn. Clients begin at different ones.
struct NameServerSelection {
    let addresses: [String]
    private var index: Int

    init(_ addresses: [String], random: inout RandomSource) {
        self.addresses = addresses
        index = addresses.isEmpty ? 0 : Int.random(in: 0..<addresses.count, using: &random)
    }

    var current: String { addresses[index] }

    /// Goes on to the next, unless another request has done so already.
    mutating func failed(_ address: String) {
        if address == current { index = (index + 1) % addresses.count }
    }
}
