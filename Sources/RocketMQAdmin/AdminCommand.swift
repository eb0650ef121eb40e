import RocketMQBase

/// A command of `mqadmin`: its options as values, and what it does with them.
///
/// Names and options are the reference's, so that scripts and habits work on; `--json` is ours.
public protocol AdminCommand: Sendable {
    static var declaration: CommandDeclaration { get }
    /// Takes the options; throws for what the declaration cannot express.
    init(_ arguments: CommandArguments) throws(CommandLineError)
    /// Does the work and prints what came of it.
    func run(_ context: AdminContext) async throws(AdminError)
}

/// Options that all commands have.
enum CommonOptions {
    static let nameServers = CommandOption<[String]>(
        "namesrvAddr", "n", value: "HOST:PORT[;HOST:PORT]", allowed: "addresses HOST:PORT separated by ;",
        "Name servers to ask; NAMESRV_ADDR unless given.",
        accepts: { addresses in
            !addresses.isEmpty
                && addresses.allSatisfy { address in
                    guard let colon = address.lastIndex(of: ":"), colon != address.startIndex else { return false }
                    return UInt16(address[address.index(after: colon)...]) != nil
                }
        })
    static let json = CommandFlag("json", nil, "Print JSON instead of text for people.")

    static let queueCount: @Sendable (Int) -> Bool = { (1...65_535).contains($0) }
}

extension CommandDeclaration {
    /// A command with its own options and the common ones.
    static func admin(
        _ name: String, _ summary: String, _ options: any CommandOptionDeclaration..., exactlyOneOf: [[any CommandOptionDeclaration]] = [],
        notes: String = ""
    ) -> CommandDeclaration {
        CommandDeclaration(
            name, summary, options: options + [CommonOptions.nameServers, CommonOptions.json], exactlyOneOf: exactlyOneOf, notes: notes)
    }
}

/// One broker or all masters of a cluster: what `-b` and `-c` say in many commands.
enum BrokerTarget: Sendable, Equatable {
    /// By address, or by name.
    case broker(String)
    case cluster(String)

    init(_ broker: String?, _ cluster: String?, _ arguments: CommandArguments) throws(CommandLineError) {
        switch (broker, cluster) {
        case (let broker?, nil): self = .broker(broker)
        case (nil, let cluster?): self = .cluster(cluster)
        default: throw arguments.wrong("one of --brokerAddr and --clusterName must be given")
        }
    }

    /// The addresses of the brokers meant: of a cluster its masters.
    func masters(_ client: AdminClient) async throws(AdminError) -> [String] {
        switch self {
        case .broker(let given): [try await client.brokerAddress(given)]
        case .cluster(let name): try await client.masters(ofCluster: name).map(\.address)
        }
    }

    /// As `masters`, with the slaves of a cluster.
    func all(_ client: AdminClient) async throws(AdminError) -> [String] {
        switch self {
        case .broker(let given): [try await client.brokerAddress(given)]
        case .cluster(let name): try await client.brokers(ofCluster: name).map(\.address)
        }
    }
}
