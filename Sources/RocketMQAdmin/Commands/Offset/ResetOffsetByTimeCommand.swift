import RocketMQBase
import RocketMQProtocol

/// `resetOffsetByTime`: moves a group to where a topic stood at a time, or to an offset of one queue.
struct ResetOffsetByTimeCommand: AdminCommand {
    static let group = CommandOption<String>("group", "g", value: "GROUP", required: true, "The consumer group.")
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let time = CommandOption<GroupPlaceArgument>(
        "timestamp", "s", value: "TIME", required: true, "The time; now for the end of the queues.")
    static let timeUnlessOffset = CommandOption<GroupPlaceArgument>(
        "timestamp", "s", value: "TIME", "The time; now for the end of the queues. Needed unless -o says where to.")
    static let force = CommandOption<Bool>("force", "f", value: "true|false", "Move forward too, not only back; true unless given.")
    static let cpp = CommandFlag("cplus", "c", "The group's members are C++ clients; brokers of this project know that themselves.")
    static let broker = CommandOption<String>("broker", "b", value: "HOST:PORT", "Only at this broker; its name will do too.")
    static let queue = CommandOption<Int>(
        "queue", "q", value: "ID", allowed: "a number from 0 to 65534", "With -b: only this queue.", accepts: { (0...65_534).contains($0) })
    static let offset = CommandOption<Int64>(
        "offset", "o", value: "OFFSET", allowed: "a number from 0", "With -b and -q: the offset to move to, instead of a time.",
        accepts: { $0 >= 0 })

    static let declaration = CommandDeclaration.admin(
        "resetOffsetByTime", "Move a consumer group back or forth in time, or to an offset.", group, topic, timeUnlessOffset, force, cpp,
        broker, queue, offset,
        notes: """
            TIME is \(GroupPlaceArgument.form); the date is in local time.
            Connected members are told and go on there; of a group without connected members the offsets are set at the brokers, also of
            one that has none yet. A group that broadcasts keeps its offsets with its members: those that are connected are told.
            Example: mqadmin resetOffsetByTime -n 127.0.0.1:9876 -g billing -t Orders -s 2026-01-31#18:00:00:000
            Example: mqadmin resetOffsetByTime -n 127.0.0.1:9876 -g billing -t Orders -b broker-a -q 3 -o 1200
            """)

    let group: String
    let topic: String
    let time: GroupPlaceArgument?
    let force: Bool
    let forCPP: Bool
    let broker: String?
    let queueID: Int32?
    let offset: Int64?

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        group = try arguments.required(Self.group)
        topic = try arguments.required(Self.topic)
        time = arguments[Self.timeUnlessOffset]
        force = arguments[Self.force] ?? true
        forCPP = arguments[Self.cpp]
        broker = arguments[Self.broker]
        queueID = arguments[Self.queue].map { Int32($0) }
        offset = arguments[Self.offset]
        guard time != nil || offset != nil else { throw arguments.wrong("option --timestamp is missing, or --offset in its place") }
        guard queueID == nil || broker != nil else {
            throw arguments.wrong("--queue needs --broker: every broker has a queue of that number")
        }
        guard offset == nil || queueID != nil else {
            throw arguments.wrong("--offset needs --broker and --queue: it is a place in one queue")
        }
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let timestamp = time?.milliseconds(context.time) ?? 0
        let place = offset.map { OffsetReset.Place.offset($0) } ?? .time(timestamp)
        let reset = OffsetReset(
            group: group, topic: topic, place: place, force: force, forCPP: forCPP, broker: broker, queueID: queueID)
        let line =
            offset.map { "moved group[\(group)], topic[\(topic)], broker[\(broker ?? "")], queueId[\(queueID ?? 0)] to offset[\($0)]" }
            ?? "rollback consumer offset by specified group[\(group)], topic[\(topic)], force[\(force)], "
            + "timestamp(string)[\(time?.settingText ?? "")], timestamp(long)[\(timestamp)]"
        try await reset.run(context, saying: line)
    }
}
