import RocketMQBase
import RocketMQProtocol

/// `resumeTransaction`: has brokers ask again about transactions that were set aside (323). The reference has the request and no
/// command for it.
struct ResumeTransactionCommand: AdminCommand {
    static let ids = CommandOption<String>(
        "msgId", "i", value: "ID[,ID]", "The ids of the messages, as undecidedTransactions -s shows them.")
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "All that this broker has; its name will do too.")
    static let cluster = CommandOption<String>("clusterName", "c", value: "CLUSTER", "All that the masters of this cluster have.")
    static let group = CommandOption<String>("producerGroup", "g", value: "GROUP", "With -b or -c: only those of this producer group.")

    static let declaration = CommandDeclaration.admin(
        "resumeTransaction", "Ask producers again about transactions that were set aside.", ids, broker, cluster, group,
        exactlyOneOf: [[ids, broker, cluster]],
        notes: """
            What the broker has in its topic already, committed, is passed over. Otherwise a transaction's producers are asked from the
            beginning, whatever became of it before.
            """)

    enum What: Sendable, Equatable {
        case messages([OffsetMessageID])
        case all(BrokerTarget)
    }

    let what: What
    let group: String?

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        group = arguments[Self.group]
        guard let text = arguments[Self.ids] else {
            what = .all(try BrokerTarget(arguments[Self.broker], arguments[Self.cluster], arguments))
            return
        }
        guard group == nil else { throw arguments.wrong("--producerGroup goes with --brokerAddr or --clusterName") }
        var ids: [OffsetMessageID] = []
        for id in text.split(separator: ",") {
            do throws(MalformedBytes) { ids.append(try OffsetMessageID(String(id.filter { $0 != " " }))) } catch {
                throw arguments.wrong("\"\(id)\" is no message id: an id has 32 or 56 hexadecimal digits")
            }
        }
        guard !ids.isEmpty else { throw arguments.wrong("option --msgId names no message") }
        what = .messages(ids)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        switch what {
        case .messages(let ids):
            var failures: [AdminError] = []
            for id in ids {
                do throws(AdminError) {
                    let message = try await context.client.message(id)
                    guard message.topic == SetAsideTransactions.topic else {
                        throw AdminError(
                            .wrongCall, "message \(id) is one of topic \(message.topic), not of \(SetAsideTransactions.topic)",
                            remedy: "mqadmin undecidedTransactions -s shows the ids")
                    }
                    try await resume(message, atBroker: "\(id.storeHost)", context)
                } catch {
                    failures.append(error)
                }
            }
            for failure in failures.dropFirst() { context.warn(failure.description) }
            if let first = failures.first { throw first }
        case .all(let target):
            let progress = await context.atEach(try await target.masters(context.client)) { address throws(AdminError) in
                let found = try await SetAsideTransactions.all(atBroker: address, ofGroup: group, context)
                if found.isEmpty { context.say("\(address): no transaction was set aside") }
                for message in found {
                    do throws(AdminError) { try await resume(message, atBroker: address, context) } catch  where error.responseCode != nil {
                        context.warn(error.description)
                    }
                }
            }
            try progress.check()
        }
    }

    private func resume(_ message: MessageExt, atBroker address: String, _ context: AdminContext) async throws(AdminError) {
        let name = "transaction \(message.uniqueKey ?? "") of group \(message.properties[PropertyName.producerGroup] ?? "")"
        if try await SetAsideTransactions.isCommitted(message, atBroker: address, context) {
            return context.say("\(address): \(name) was committed already")
        }
        // Known by its place, whatever address the broker gives itself.
        let id = try Self.id(message)
        do throws(AdminError) { try await context.client.resumeTransaction(id, atBroker: address) } catch {
            // The broker knows it at once, its index a little later.
            guard error.responseCode == .transactionShouldCommit else { throw error }
            return context.say("\(address): \(name) was committed already")
        }
        context.say("\(address): \(name) is asked about again")
    }

    private static func id(_ message: MessageExt) throws(AdminError) -> OffsetMessageID {
        do throws(MalformedBytes) { return try OffsetMessageID(message.offsetMessageID) } catch {
            throw AdminError(.malformedAnswer, "the message has no id: \(error.what)")
        }
    }
}
