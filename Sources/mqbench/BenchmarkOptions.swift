import RocketMQBase
import RocketMQClient

/// What the command line says.
struct BenchmarkOptions: Sendable {
    /// How messages are sent.
    enum API: String, NamedSettingValue {
        /// `depth` tasks a connection, each waiting for its send.
        case send
        /// One task a connection that keeps `depth` sends on their way.
        case async
        /// `depth` tasks a connection that do not wait for answers.
        case oneway
    }

    var nameServers: [String]
    var topic: String
    var group: String?
    var connections: Int
    var depth: Int
    var bodySize: Int
    var batch: Int
    var seconds: Int
    var warmUpSeconds: Int
    var api: API
    var loops: Int
    var countsAllocations: Bool
    var json: Bool
    /// Of raw measurements: `HOST:PORT`, and what to go over.
    var broker: String
    var topics: Int
    var queues: Int
    /// Sends a second; 0 for as many as are answered.
    var rate: Int
    /// Messages in all.
    var count: Int
    var dueSeconds: Int
    var spreadMilliseconds: Int
    var pendingOnly: Bool
    var brokerProcess: Int
    var undecided: Int
    /// Of the backlog that is read cold, and how often it is read.
    var gibibytes: Int
    var rounds: Int
    /// The broker's directory, when it is on this machine.
    var store: String?

    static let program = ProgramDeclaration(
        "mqbench", "Measures throughput, latency and cost of sending and consuming through this library.", version: ProductVersion.text,
        groups: [
            CommandGroup(
                "Measurements",
                [
                    CommandDeclaration(
                        "producer", "Sends messages as fast as the answers come.",
                        options: [
                            Options.nameServers, Options.topic, Options.group, Options.connections, Options.depth, Options.bodySize,
                            Options.batch, Options.seconds, Options.warmUp, Options.api, Options.loops, Options.allocations, Options.json,
                        ],
                        notes: "CPU and allocations are those of this process: what a message costs its sender."),
                    CommandDeclaration(
                        "consumer", "Consumes a topic from its beginning, in a new group.",
                        options: [
                            Options.nameServers, Options.topic, Options.group, Options.connections, Options.depth, Options.seconds,
                            Options.loops, Options.allocations, Options.json,
                        ],
                        notes: "Ends after the time, or when nothing has come for 3 s. Latency is the age of messages, from their "
                            + "producer's clock in milliseconds."),
                ]),
            CommandGroup(
                "Measurements of a broker alone",
                [
                    CommandDeclaration(
                        "load", "Sends raw requests to a broker, over any number of topics and queues, at a rate or as fast as it answers.",
                        options: [
                            Options.broker, Options.topic, Options.topics, Options.queues, Options.connections, Options.depth,
                            Options.rate, Options.bodySize, Options.seconds, Options.warmUp, Options.json,
                        ],
                        notes: "With --rate the latency of a send counts from when it was due, however late it could be sent."),
                    CommandDeclaration(
                        "scan", "Reads queues of a broker from their beginning to their end with raw pulls.",
                        options: [
                            Options.broker, Options.topic, Options.topics, Options.queues, Options.connections, Options.depth,
                            Options.seconds, Options.json,
                        ],
                        notes: "Ends after the time, or when all is read. Latency is that of pulls."),
                    CommandDeclaration(
                        "timers",
                        "Stores messages that are due at a time of their own, and measures how late they come and what fresh sends feel of it.",
                        options: [
                            Options.broker, Options.topic, Options.queues, Options.count, Options.due, Options.spread, Options.pending,
                            Options.process, Options.connections, Options.depth, Options.rate, Options.bodySize, Options.seconds,
                            Options.warmUp, Options.json,
                        ],
                        notes: "Fresh sends go to TOPIC-fresh at --rate, 1000 a second by default. Latency is theirs from when the first "
                            + "is due until the last is delivered; before that it is measured too. Waits --seconds at most for the last. "
                            + "All is read back: what is missing, early or there twice fails."),
                    CommandDeclaration(
                        "transactions", "Sends messages in transactions and decides them: nine in ten commit.",
                        options: [
                            Options.broker, Options.topic, Options.queues, Options.count, Options.undecided, Options.connections,
                            Options.depth, Options.bodySize, Options.json,
                        ],
                        notes: "Latency is that of a half message and its outcome together."),
                    CommandDeclaration(
                        "cold", "Latency of sends at half the load that a broker takes, alone and while a backlog is read from the disk.",
                        options: [
                            Options.broker, Options.store, Options.gibibytes, Options.rounds, Options.topic, Options.queues,
                            Options.connections, Options.depth, Options.bodySize, Options.seconds, Options.warmUp, Options.json,
                        ],
                        notes: "Fills TOPIC-backlog first, with bodies of 4000 bytes at least. Without --store the backlog is "
                            + "cold only as far as it is larger than the machine's memory."),
                ]),
        ])

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        let isRaw = ["load", "scan", "cold", "timers", "transactions"].contains(arguments.command)
        nameServers = isRaw ? [] : try arguments.required(Options.nameServers)
        broker = isRaw ? try arguments.required(Options.broker) : ""
        topics = arguments[Options.topics] ?? 1
        queues = arguments[Options.queues] ?? 8
        rate = arguments[Options.rate] ?? (arguments.command == "timers" ? 1000 : 0)
        count = arguments[Options.count] ?? 1_000_000
        dueSeconds = arguments[Options.due] ?? 60
        spreadMilliseconds = arguments[Options.spread] ?? 0
        pendingOnly = arguments[Options.pending]
        brokerProcess = arguments[Options.process] ?? 0
        undecided = arguments[Options.undecided] ?? 0
        gibibytes = arguments[Options.gibibytes] ?? 10
        rounds = arguments[Options.rounds] ?? 3
        store = arguments[Options.store]
        topic = arguments[Options.topic] ?? "mqbench"
        group = arguments[Options.group]
        connections = arguments[Options.connections] ?? 1
        depth = arguments[Options.depth] ?? (arguments.command == "consumer" ? 20 : 1)
        bodySize = arguments[Options.bodySize] ?? 128
        batch = arguments[Options.batch] ?? 1
        seconds = arguments[Options.seconds] ?? 10
        warmUpSeconds = arguments[Options.warmUp] ?? 1
        api = arguments[Options.api] ?? .send
        loops = arguments[Options.loops] ?? 1
        countsAllocations = arguments[Options.allocations]
        json = arguments[Options.json]
        if batch > 1, api != .send { throw arguments.wrong("option --batch goes with --api send only") }
    }

    /// Clients, divided among the event loops.
    func runtimes() -> [ClientRuntime] {
        let environments = (0..<loops).map { ClientEnvironment.system(threadName: "mqbench-\($0)") }
        return (0..<connections).map { ClientRuntime(ClientConfiguration(nameServers: nameServers), environment: environments[$0 % loops]) }
    }
}

/// The command line of mqbench.
private enum Options {
    static let nameServers = CommandOption<[String]>("namesrvAddr", "n", value: "HOST:PORT[;…]", required: true, "Name servers.")
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", "Topic; mqbench by default.")
    static let group = CommandOption<String>("group", "g", value: "GROUP", "Group; a new one by default.")
    static let connections = number("connections", "c", "Clients, each with a connection of its own; 1 by default.", 1...1024)
    static let depth = number(
        "depth", "d", "Producer: sends on their way at once on each connection, 1 by default. Consumer: listener calls at once, 20.",
        1...100_000)
    static let bodySize = number(
        "bodySize", "b", "Bytes of a message's body, 128 by default; from 4096 on bodies are compressed.", 1...4_194_304)
    static let batch = number("batch", "B", "Messages sent in one request, 1 by default.", 1...1024)
    static let seconds = number("seconds", "T", "How long to measure, 10 by default.", 1...86_400)
    static let warmUp = number("warmUp", "w", "Seconds before that, which don't count; 1 by default.", 0...600)
    static let api = CommandOption<BenchmarkOptions.API>(
        "api", "a", value: "API",
        "send: a task for each of depth, the default; async: one task that keeps depth sends on their way; oneway: without answers.")
    static let broker = CommandOption<String>("brokerAddr", nil, value: "HOST:PORT", required: true, "The broker.")
    static let topics = number("topics", nil, "How many topics, TOPIC-00000 and so on; 1 by default, TOPIC itself.", 1...100_000)
    static let queues = number("queues", "q", "Queues of each topic, 8 by default.", 1...1024)
    static let rate = number("rate", "r", "Sends a second, whenever answers come; as fast as they come by default.", 1...10_000_000)
    static let count = number("count", "m", "How many messages in all, a million by default.", 1...100_000_000)
    static let due = number("due", nil, "Seconds from the start until the first is due, 60 by default.", 1...31_536_000)
    static let spread = number(
        "spread", nil, "Milliseconds between the first and the last; 0 by default: all are due at once.", 0...86_400_000)
    static let pending = CommandFlag("pending", nil, "Stop when all are stored, and do not wait until they are due.")
    static let process = number("pid", nil, "The broker's process: its memory is measured too.", 1...Int(Int32.max))
    static let undecided = number("undecided", "u", "Transactions that are left open, spread over all; none by default.", 0...100_000_000)
    static let store = CommandOption<String>(
        "store", nil, value: "DIRECTORY", "The broker's storePathRootDir on this machine: its files are made cold before they are read.")
    static let gibibytes = number("gibibytes", nil, "Backlog to make, 10 by default.", 1...10_000)
    static let rounds = number("rounds", nil, "How often to measure alone and with the reader, 3 by default.", 1...100)
    static let loops = number("loops", "l", "Event loops that the clients share, 1 by default.", 1...64)
    static let allocations = CommandFlag("allocations", nil, "Count allocations too, which costs some throughput.")
    static let json = CommandFlag("json", nil, "Answer in JSON.")

    static func number(_ name: String, _ short: Character?, _ text: String, _ range: ClosedRange<Int>) -> CommandOption<Int> {
        CommandOption(name, short, value: "N", allowed: "a number in \(range.lowerBound)...\(range.upperBound)", text) {
            range.contains($0)
        }
    }
}
