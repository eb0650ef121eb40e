import RocketMQBase
import RocketMQProtocol

/// `resetOffsetByTime`: moves a group to where a topic stood at a time.
struct ResetOffsetByTimeCommand: AdminCommand {
    static let group = CommandOption<String>("group", "g", value: "GROUP", required: true, "The consumer group.")
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let time = CommandOption<TimeArgument>(
        "timestamp", "s", value: "TIME", required: true, "The time; now for the end of the queues.")
    static let force = CommandOption<Bool>("force", "f", value: "true|false", "Move forward too, not only back; true unless given.")
    static let cpp = CommandFlag("cplus", "c", "The group's members are C++ clients.")

    static let declaration = CommandDeclaration.admin(
        "resetOffsetByTime", "Move a consumer group back or forth in time.", group, topic, time, force, cpp,
        notes: "TIME is \(TimeArgument.form), the date in local time.")

    let group: String
    let topic: String
    let time: TimeArgument
    let force: Bool
    let forCPP: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        group = try arguments.required(Self.group)
        topic = try arguments.required(Self.topic)
        time = try arguments.required(Self.time)
        force = arguments[Self.force] ?? true
        forCPP = arguments[Self.cpp]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let timestamp = time == .now ? -1 : time.milliseconds(context.time, now: context.nowMilliseconds)
        let reset = OffsetReset(group: group, topic: topic, timestamp: timestamp, force: force, forCPP: forCPP)
        let outcome = try await reset.run(context)
        context.say(
            "rollback consumer offset by specified group[\(group)], topic[\(topic)], force[\(force)], "
                + "timestamp(string)[\(time.settingText)], timestamp(long)[\(timestamp)]")
        context.show(OffsetReset.table(outcome))
    }
}
