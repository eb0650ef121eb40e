import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Consumer groups: create and change (200, 225), list (201), one (352), delete (207). Changes are answered when they are
/// on the disk.
final class GroupHandler: AdministrationHandler {
    let codes: [RequestCode] = [
        .updateAndCreateSubscriptiongroup, .updateAndCreateSubscriptiongroupList, .getAllSubscriptiongroupConfig,
        .getSubscriptiongroupConfig, .deleteSubscriptiongroup,
    ]
    private let groups: SubscriptionGroupTable
    private let offsets: ConsumerOffsetTable
    private let groupFile: TableFile<SubscriptionGroupWrapper>
    private let offsetFile: TableFile<ConsumerOffsetSerializeWrapper>
    private let log: Logger

    init(
        groups: SubscriptionGroupTable, offsets: ConsumerOffsetTable, groupFile: TableFile<SubscriptionGroupWrapper>,
        offsetFile: TableFile<ConsumerOffsetSerializeWrapper>, log: Logger
    ) {
        self.groups = groups
        self.offsets = offsets
        self.groupFile = groupFile
        self.offsetFile = offsetFile
        self.log = log
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        switch request.requestCode {
        case .updateAndCreateSubscriptiongroup:
            return try update([request.body()], request, connection)
        case .updateAndCreateSubscriptiongroupList:
            return try update(request.body(as: SubscriptionGroupList.self).groupConfigList, request, connection)
        case .deleteSubscriptiongroup:
            return try remove(request, connection)
        case .getSubscriptiongroupConfig:
            let name = try request.text("group")
            guard let group = groups.find(name) else {
                throw InvalidRequest("No group in this broker by the name \(name)", code: .subscriptionGroupNotExist)
            }
            return .success(body: group.config.encoded())
        default:
            return .success(body: groups.wrapper.encoded())
        }
    }

    private func update(
        _ configs: [SubscriptionGroupConfig], _ request: RemotingCommand, _ connection: ServerConnection
    ) throws(InvalidRequest) -> RemotingCommand? {
        for config in configs {
            do throws(InvalidName) { try TopicValidator.check(group: config.groupName) } catch {
                throw InvalidRequest(error.description)
            }
            guard config.retryQueueNums >= 0, config.retryQueueNums <= Int32(UInt16.max) else {
                throw InvalidRequest("retryQueueNums of group \(config.groupName) is \(config.retryQueueNums), outside 0...65535")
            }
        }
        let switchedOff = configs.filter { !$0.consumeEnable && groups.existing($0.groupName)?.config.consumeEnable == true }
        groups.update(configs, by: connection.peer)
        log.info("group \(configs.map(\.groupName).joined(separator: ", ")) created or changed by \(connection.peer)")
        if !switchedOff.isEmpty {
            log.warning(
                "group \(switchedOff.map(\.groupName).joined(separator: ", ")) may not consume any more: \(connection.peer) set "
                    + "consumeEnable=false; mqadmin updateSubGroup -s true switches it on again")
        }
        let later = AnswerLater(request, from: connection)
        groupFile.whenSaved { failure in later.send(Self.outcome(failure, "changed in memory")) }
        return nil
    }

    private func remove(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let name = try request.text("groupName")
        let existed = groups.remove(name)
        if existed { log.info("group \(name) deleted by \(connection.peer)") }
        let removesOffsets = request.isTrue("removeOffset")
        if removesOffsets { offsets.remove(group: name) }
        let later = AnswerLater(request, from: connection)
        let files = (offsets: offsetFile, groups: groupFile)
        files.groups.whenSaved { failure in
            guard failure == nil, removesOffsets else { return later.send(Self.outcome(failure, "deleted in memory")) }
            files.offsets.save { later.send(Self.outcome($0, "deleted, but not its offsets")) }
        }
        return nil
    }

    private static func outcome(_ failure: TableFileError?, _ state: String) -> RemotingCommand {
        guard let failure else { return .success() }
        return .response(.systemError, "\(state), which will not outlive a restart: \(failure)")
    }
}

/// Several groups: the body of 225.
struct SubscriptionGroupList: JSONBody {
    var groupConfigList: [SubscriptionGroupConfig]

    init(json: JSONValue) throws(MalformedBytes) {
        guard let list = json["groupConfigList"]?.array else { throw MalformedBytes("there is no list groupConfigList") }
        groupConfigList = []
        for element in list { groupConfigList.append(try SubscriptionGroupConfig(json: element)) }
    }

    var json: JSONValue { ["groupConfigList": .array(groupConfigList.map(\.json))] }
}
