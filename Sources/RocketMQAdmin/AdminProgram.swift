import RocketMQBase
import RocketMQSystem

/// `mqadmin`: all commands, and the way from words to an exit code.
///
/// Exit codes: 0 done, 1 failed, 2 wrong call.
public enum AdminProgram {
    static let groups: [(title: String, commands: [any AdminCommand.Type])] = [
        (
            "Clusters and brokers",
            [
                ClusterListCommand.self, BrokerStatusCommand.self, DelayStatusCommand.self, BrokerConsumeStatisticsCommand.self,
                GetBrokerConfigCommand.self,
                UpdateBrokerConfigCommand.self, CleanUnusedTopicCommand.self, DeleteExpiredCommitLogCommand.self,
                CleanExpiredQueuesCommand.self, ClusterRTCommand.self, SendMessageStatusCommand.self,
            ]
        ),
        (
            "Topics",
            [
                UpdateTopicCommand.self, UpdateTopicListCommand.self, UpdateTopicPermissionCommand.self, DeleteTopicCommand.self,
                TopicListCommand.self,
                TopicRouteCommand.self, TopicStatusCommand.self, TopicClusterListCommand.self, UpdateOrderConfigurationCommand.self,
                AllocateQueuesCommand.self, QueryConsumeQueueCommand.self, StatsAllCommand.self,
            ]
        ),
        (
            "Consumer groups",
            [
                UpdateGroupCommand.self, UpdateGroupListCommand.self, DeleteGroupCommand.self, GetConsumerConfigCommand.self,
                ConsumerProgressCommand.self,
                ConsumerStatusCommand.self, CheckConsumersCommand.self, StartMonitoringCommand.self, ResetOffsetByTimeCommand.self,
                SkipAccumulatedMessagesCommand.self,
                ResetOffsetByTimeOldCommand.self, CloneGroupOffsetCommand.self, GetConsumerStatusCommand.self,
            ]
        ),
        ("Connections", [ConsumerConnectionCommand.self, ProducerConnectionCommand.self, ProducerCommand.self]),
        (
            "Messages",
            [
                SendMessageCommand.self, CheckMessageSendRTCommand.self, ConsumeMessageCommand.self, PrintMessagesCommand.self,
                PrintMessagesByQueueCommand.self,
                QueryMessageByIDCommand.self, QueryMessageByKeyCommand.self, QueryMessageByUniqueKeyCommand.self,
                QueryMessageTraceByIDCommand.self,
                QueryMessageByOffsetCommand.self, DecodeMessageIDCommand.self,
            ]
        ),
        ("Transactions", [UndecidedTransactionsCommand.self, ResumeTransactionCommand.self]),
        ("Export", [ExportMetadataCommand.self, ExportConfigsCommand.self, ExportMetricsCommand.self]),
        ("Dead letters", [DeadLettersCommand.self, ResendDeadLettersCommand.self]),
        (
            "Name servers",
            [
                GetNameServerConfigCommand.self, UpdateNameServerConfigCommand.self, UpdateKeyValueCommand.self, DeleteKeyValueCommand.self,
                WipeWritePermissionCommand.self, AddWritePermissionCommand.self,
            ]
        ),
    ]

    public static let declaration = ProgramDeclaration(
        "mqadmin", "Looks after the brokers, topics, groups and messages of RocketMQ.", version: ProductVersion.text,
        groups: groups.map { CommandGroup($0.title, $0.commands.map { $0.declaration }) })

    /// Runs the process's command line to its end.
    public static func main() async -> Never {
        CurrentProcess.exit(await run(CurrentProcess.arguments, .system()))
    }

    /// Runs one command line; returns the exit code.
    public static func run(_ words: [String], _ environment: AdminEnvironment) async -> Int32 {
        switch declaration.parse(withKnownCase(words)) {
        case .answer(let text):
            environment.write(text)
            return 0
        case .wrong(let error):
            environment.complain(error.description)
            return 2
        case .run(let arguments):
            return await run(arguments, environment)
        }
    }

    private static func run(_ arguments: CommandArguments, _ environment: AdminEnvironment) async -> Int32 {
        let command: any AdminCommand
        do throws(CommandLineError) {
            command = try make(arguments)
        } catch {
            environment.complain(error.description)
            return 2
        }
        let nameServers = arguments[CommonOptions.nameServers] ?? environment.nameServers.flatMap { [String](settingText: $0) } ?? []
        let client = AdminClient(nameServers: nameServers, environment: environment.client)
        defer { client.stop() }
        let context = AdminContext(client: client, environment: environment, wantsJSON: arguments[CommonOptions.json])
        do throws(AdminError) {
            try await command.run(context)
            return 0
        } catch {
            environment.complain("\(arguments.fullName): \(Printable.line(error.description))")
            return error.code == .wrongCall ? 2 : 1
        }
    }

    static func make(_ arguments: CommandArguments) throws(CommandLineError) -> any AdminCommand {
        for type in groups.flatMap(\.commands) where type.declaration.name == arguments.command { return try type.init(arguments) }
        throw arguments.wrong("there is no such command")
    }

    /// The reference takes the names of commands in any case.
    private static func withKnownCase(_ words: [String]) -> [String] {
        var words = words
        for index in words.indices.prefix(words.first == "help" ? 2 : 1) {
            let lowercased = words[index].lowercased()
            if let known = declaration.commands.first(where: { $0.name.lowercased() == lowercased }) { words[index] = known.name }
        }
        return words
    }
}
