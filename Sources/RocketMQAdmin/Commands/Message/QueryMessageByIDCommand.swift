import RocketMQBase
import RocketMQClient
import RocketMQProtocol

/// `queryMsgById`: shows messages by the ids that brokers gave them; hands them to a consumer or sends them again if asked.
struct QueryMessageByIDCommand: AdminCommand {
    static let ids = CommandOption<String>("msgId", "i", value: "ID[,ID]", required: true, "The ids that the broker gave the messages.")
    static let group = CommandOption<String>("consumerGroup", "g", value: "GROUP", "With -d: have a member of this group consume them now.")
    static let client = CommandOption<String>("clientId", "d", value: "ID", "With -g: the member.")
    static let send = CommandOption<Bool>("sendMessage", "s", value: "true|false", "Send them again.")
    static let unit = CommandOption<String>("unitName", "u", value: "NAME", "With -s: the unit in whose name to send.")

    static let declaration = CommandDeclaration.admin("queryMsgById", "Show messages by their ids.", ids, group, client, send, unit)

    let ids: [String]
    let consumer: (group: String, clientID: String)?
    let sendsAgain: Bool
    let unitName: String?

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        ids = try arguments.required(Self.ids).split(separator: ",").map { String($0.filter { $0 != " " }) }.filter { !$0.isEmpty }
        guard !ids.isEmpty else { throw arguments.wrong("option --msgId names no message") }
        switch (arguments[Self.group], arguments[Self.client]) {
        case (let group?, let client?): consumer = (group, client)
        case (nil, nil): consumer = nil
        default: throw arguments.wrong("--consumerGroup and --clientId go together")
        }
        sendsAgain = arguments[Self.send] ?? false
        unitName = arguments[Self.unit]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let progress = await context.atEach(ids) { text throws(AdminError) in
            let id: OffsetMessageID
            do throws(MalformedBytes) { id = try OffsetMessageID(text) } catch {
                throw AdminError(.wrongCall, "\"\(text)\" is no message id", remedy: "an id has 32 or 56 hexadecimal digits")
            }
            if let consumer {
                try await consume(id, consumer.group, consumer.clientID, context)
            } else if sendsAgain {
                try await send(id, context)
            } else {
                try await show(id, context)
            }
        }
        guard let first = progress.failed.first else { return }
        for failure in progress.failed.dropFirst() { context.warn(failure.description) }
        throw first
    }

    private func show(_ id: OffsetMessageID, _ context: AdminContext) async throws(AdminError) {
        var report = MessageReport(message: try await context.client.message(id))
        if !context.client.nameServers.isEmpty {
            do throws(AdminError) {
                report.tracks = try await MessageTrack.all(of: report.message, context)
            } catch {
                context.warn("the groups that consume the message are not known: \(error.description)")
            }
        }
        context.show(report.json, text: report.text(context.time))
    }

    private func consume(_ id: OffsetMessageID, _ group: String, _ clientID: String, _ context: AdminContext) async throws(AdminError) {
        let result = try await context.client.consumeDirectly(id, group: group, clientID: clientID, atBroker: "\(id.storeHost)")
        context.show(result.json, text: Self.text(result))
    }

    static func text(_ result: ConsumeMessageDirectlyResult) -> String {
        "ConsumeMessageDirectlyResult [order=\(result.order), autoCommit=\(result.autoCommit), "
            + "consumeResult=\(result.consumeResult?.rawValue ?? "none"), remark=\(Printable.line(result.remark ?? "")), "
            + "spentTimeMills=\(result.spentTimeMilliseconds)]\n"
    }

    private func send(_ id: OffsetMessageID, _ context: AdminContext) async throws(AdminError) {
        let found = try await context.client.message(id)
        let nameServers = try context.client.requireNameServers()
        context.say("prepare resend msg. originalMsgId=\(id)")
        let instance = unitName.map { "\(context.environment.client.processID)@\($0)" }
        let runtime = ClientRuntime(
            ClientConfiguration(nameServers: nameServers, instanceName: instance), environment: context.environment.client)
        let producer = DefaultMQProducer(ProducerConfiguration(group: "ReSendMsgById"), runtime: runtime)
        do throws(MQError) {
            try await producer.start()
            let result = try await producer.send(found.message)
            context.show(SendMessageCommand.table(result))
            await producer.shutdown()
        } catch {
            await producer.shutdown()
            throw AdminError(.notSent, "message \(id) is not sent again: \(error)", responseCode: error.responseCode)
        }
    }
}
