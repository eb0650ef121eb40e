import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQAdmin

/// What the commands are called and take.
struct OptionTests {
    /// Options of release 4.9.8: letter, long name, `=` when there is a value. `-n` and `-h` are common to all. Those of 5.x
    /// are there where this project does what they ask for: attributes, the bounds of queryMsgByKey, one queue of resetOffsetByTime,
    /// lists. Rounds, and the interval of startMonitoring, are this project's.
    static let reference = [
        "DecodeMessageId": "i:messageId=",
        "addWritePerm": "b:brokerName=",
        "allocateMQ": "i:ipList= t:topic=",
        "brokerConsumeStats": "b:brokerAddr= l:level= o:order= t:timeoutMillis=",
        "brokerStatus": "b:brokerAddr= c:clusterName=",
        "checkMsgSendRT": "a:amount= s:size= t:topic=",
        "clusterRT": "a:amount= c:cluster= i:interval= m:machineRoom= p:printLog= r:rounds= s:size=",
        "exportConfigs": "c:clusterName= f:filePath=",
        "exportMetadata": "b:brokerAddr= c:clusterName= f:filePath= g:subscriptionGroup s:specialTopic t:topic",
        "exportMetrics": "c:clusterName= f:filePath=",
        "sendMsgStatus": "b:brokerName= c:count= s:messageSize=",
        "startMonitoring": "i:interval= r:rounds=",
        "updateSubGroupList": "b:brokerAddr= c:clusterName= f:filename=",
        "updateTopicList": "b:brokerAddr= c:clusterName= f:filename=",
        "cleanExpiredCQ": "b:brokerAddr= c:cluster=",
        "cleanUnusedTopic": "b:brokerAddr= c:cluster=",
        "deleteExpiredCommitLog": "b:brokerAddr= c:cluster=",
        "cloneGroupOffset": "d:destGroup= o:offline= s:srcGroup= t:topic=",
        "clusterList": "i:interval= m:moreStats",
        "consumeMessage":
            "b:brokerName= c:MessageNumber= e:endTimestamp= g:consumerGroup= i:queueId= o:offset= s:beginTimestamp= t:topic=",
        "consumerConnection": "b:brokerAddr= g:consumerGroup=",
        "consumerProgress": "g:groupName= s:showClientIP=",
        "consumerStatus": "b:brokerAddr= g:consumerGroup= i:clientId= s:jstack",
        "deleteKvConfig": "k:key= s:namespace=",
        "deleteSubGroup": "b:brokerAddr= c:clusterName= g:groupName= r:removeOffset=",
        "deleteTopic": "c:clusterName= t:topic=",
        "getBrokerConfig": "b:brokerAddr= c:clusterName=",
        "getConsumerConfig": "g:groupName=",
        "getConsumerStatus": "g:group= i:originClientId= t:topic=",
        "getNamesrvConfig": "",
        "printMsg": "b:beginTimestamp= c:charsetName= d:printBody= e:endTimestamp= s:subExpression= t:topic=",
        "printMsgByQueue":
            "a:brokerName= b:beginTimestamp= c:charsetName= d:printBody= e:endTimestamp= f:calculate= i:queueId= p:printMsg= "
            + "s:subExpression= t:topic=",
        "producer": "b:broker=",
        "producerConnection": "g:producerGroup= t:topic=",
        "queryCq": "b:broker= c:count= g:consumer= i:index= q:queue= t:topic=",
        "queryMsgById": "d:clientId= g:consumerGroup= i:msgId= s:sendMessage= u:unitName=",
        "queryMsgByKey": "b:beginTimestamp= e:endTimestamp= k:msgKey= m:maxNum= t:topic=",
        "queryMsgByOffset": "b:brokerName= i:queueId= o:offset= t:topic=",
        "queryMsgByUniqueKey": "a:showAll d:clientId= g:consumerGroup= i:msgId= t:topic=",
        "queryMsgTraceById": "i:msgId= t:traceTopic=",
        "resetOffsetByTime": "b:broker= c:cplus f:force= g:group= o:offset= q:queue= s:timestamp= t:topic=",
        "resetOffsetByTimeOld": "f:force= g:group= s:timestamp= t:topic=",
        "sendMessage": "b:broker= c:tags= i:qid= k:key= m:msgTraceEnable= p:body= t:topic=",
        "statsAll": "a:activeTopic t:topic=",
        "skipAccumulatedMessage": "f:force= g:group= t:topic=",
        "topicClusterList": "t:topic=",
        "topicList": "c:clusterModel",
        "topicRoute": "l:list t:topic=",
        "topicStatus": "t:topic=",
        "updateBrokerConfig": "b:brokerAddr= c:clusterName= k:key= v:value=",
        "updateKvConfig": "k:key= s:namespace= v:value=",
        "updateNamesrvConfig": "k:key= v:value=",
        "updateOrderConf": "m:method= t:topic= v:orderConf=",
        "updateSubGroup":
            "a:notifyConsumerIdsChanged= b:brokerAddr= c:clusterName= d:consumeBroadcastEnable= g:groupName= i:brokerId= "
            + "m:consumeFromMinEnable= q:retryQueueNums= r:retryMaxTimes= s:consumeEnable= w:whichBrokerWhenConsumeSlowly=",
        "updateTopic":
            "a:attributes= b:brokerAddr= c:clusterName= o:order= p:perm= r:readQueueNums= s:hasUnitSub= t:topic= u:unit= w:writeQueueNums=",
        "updateTopicPerm": "b:brokerAddr= c:clusterName= p:perm= t:topic=",
        "wipeWritePerm": "b:brokerName=",
    ]

    /// Commands that the reference does not have.
    static let own = [
        "checkConsumers": "b:brokerAddr= c:clusterName= f:fail g:consumerGroup=",
        "deadLetters": "b:beginTimestamp= e:endTimestamp= g:consumerGroup= i:msgId= k:msgKey= m:maxNum= t:topic=",
        "delayStatus": "a:all b:brokerAddr= c:clusterName=",
        "resumeTransaction": "b:brokerAddr= c:clusterName= g:producerGroup= i:msgId=",
        "undecidedTransactions": "b:brokerAddr= c:clusterName= g:producerGroup= m:count= s:setAside",
        "resendDeadLetters":
            "a:all b:beginTimestamp= d:dryRun e:endTimestamp= f:force g:consumerGroup= i:msgId= k:msgKey= o:originTopic t:topic=",
    ]

    @Test("Names, letters and long names are the reference's, and every command takes -n and --json")
    func sameAsReference() {
        var declared: [String: String] = [:]
        for command in AdminProgram.declaration.commands {
            var own: [String] = []
            for option in command.options where option.longName != "namesrvAddr" && option.longName != "json" {
                own.append("\(option.shortName.map { "\($0)" } ?? ""):\(option.longName)" + (option.valueName == nil ? "" : "="))
            }
            declared[command.name] = own.sorted().joined(separator: " ")
            #expect(command.options.contains { $0.longName == "namesrvAddr" && $0.shortName == "n" })
            #expect(command.options.contains { $0.longName == "json" })
        }
        #expect(declared == Self.reference.merging(Self.own) { $1 })
    }

    @Test(
        "An empty name is refused, and not taken for all of them",
        arguments: [
            ["checkConsumers", "-g", ""], ["getConsumerConfig", "-g", " "], ["topicStatus", "--topic="],
            ["updateSubGroup", "-c", "", "-g", "g"],
        ])
    func emptyNames(_ words: [String]) async {
        let terminal = Terminal()
        #expect(await terminal.run(words, nameServers: "127.0.0.1:1") == 2)
        #expect(terminal.errors.contains("is empty: -"), "\(terminal.errors)")
    }

    /// The command that the words ask for.
    private func parse<Command: AdminCommand>(_ words: String..., as type: Command.Type = Command.self) throws -> Command {
        guard case .run(let arguments) = AdminProgram.declaration.parse(words) else { throw NotParsed(words: words) }
        return try #require(try AdminProgram.make(arguments) as? Command)
    }

    private struct NotParsed: Error { var words: [String] }

    @Test("updateTopic: the reference's defaults, and what is given")
    func updateTopic() throws {
        var command: UpdateTopicCommand = try parse("updateTopic", "-c", "C", "-t", "T")
        #expect(command.target == .cluster("C"))
        #expect(command.config == TopicConfig(topicName: "T", readQueueNums: 8, writeQueueNums: 8))
        command = try parse(
            "updateTopic", "-b", "1.2.3.4:10911", "--topic", "T", "-r", "4", "-w4", "--perm=2", "-o", "true", "-u", "true", "-s", "true")
        #expect(command.target == .broker("1.2.3.4:10911"))
        #expect(
            command.config
                == TopicConfig(topicName: "T", readQueueNums: 4, writeQueueNums: 4, perm: .write, topicSysFlag: 3, order: true))
    }

    @Test("updateSubGroup: the reference's defaults, which are not those of a new group")
    func updateGroup() throws {
        var command: UpdateGroupCommand = try parse("updateSubGroup", "-c", "C", "-g", "G")
        #expect(
            command.config
                == SubscriptionGroupConfig(groupName: "G", consumeFromMinEnable: false, consumeBroadcastEnable: false))
        command = try parse(
            "updateSubGroup", "-b", "b", "-g", "G", "-s", "false", "-m", "true", "-d", "true", "-q", "2", "-r", "3", "-i", "1", "-w", "2",
            "-a", "false")
        #expect(
            command.config
                == SubscriptionGroupConfig(
                    groupName: "G", consumeEnable: false, consumeFromMinEnable: true, consumeBroadcastEnable: true, retryQueueNums: 2,
                    retryMaxTimes: 3, brokerID: 1, whichBrokerWhenConsumeSlowly: 2, notifyConsumerIDsChangedEnable: false))
    }

    @Test("sendMessage and consumeMessage")
    func messages() throws {
        let send: SendMessageCommand = try parse(
            "sendMessage", "-t", "T", "-p", "-dash body", "-k", "k1 k2", "-c", "tag", "-b", "broker-a", "-i", "3")
        #expect(send.message.topic == "T" && send.message.body == Array("-dash body".utf8) && send.message.tag == "tag")
        #expect(send.message.keys == ["k1", "k2"] && send.brokerName == "broker-a" && send.queueID == 3)
        var consume: ConsumeMessageCommand = try parse("consumeMessage", "-t", "T")
        #expect(consume.count == 128 && consume.group == "TOOLS_CONSUMER" && consume.queueID == nil && consume.start == nil)
        consume = try parse(
            "consumeMessage", "-t", "T", "-b", "broker-a", "-i", "1", "-o", "5", "-g", "G", "-s", "1700000000000", "-e", "now", "-c", "3")
        #expect(consume.brokerName == "broker-a" && consume.queueID == 1 && consume.offset == 5 && consume.group == "G")
        #expect(consume.start == .milliseconds(1_700_000_000_000) && consume.end == .now && consume.count == 3)
    }

    @Test("The other first commands")
    func others() throws {
        let progress: ConsumerProgressCommand = try parse("consumerProgress", "-g", "G", "-s", "true")
        #expect(progress.group == "G" && progress.showsClients)
        let query: QueryMessageByIDCommand = try parse("queryMsgById", "-i", "A, B,")
        #expect(query.ids == ["A", "B"] && query.consumer == nil && !query.sendsAgain)
        let delete: DeleteGroupCommand = try parse("deleteSubGroup", "-b", "b", "-g", "G")
        #expect(!delete.removesOffsets && delete.target == .broker("b"))
        let route: TopicRouteCommand = try parse("topicRoute", "-l", "-t", "T")
        #expect(route.asList && route.topic == "T")
    }

    @Test(
        "Calls that cannot work are refused before anything is asked of a server",
        arguments: [
            (["updateTopic", "-t", "T"], "--brokerAddr, --clusterName"),
            (["updateTopic", "-t", "T", "-b", "b", "-c", "c"], "only one of"),
            (["updateTopic", "-t", "T", "-b", "b", "-r", "0"], "from 1 to 65535"),
            (["updateTopic", "-t", "T", "-b", "b", "-o", "maybe"], "true or false"),
            (["updateTopic", "-c", "c"], "--topic is missing"),
            (["sendMessage", "-t", "T", "-p", "x", "-i", "1"], "--broker"),
            (["sendMessage", "-t", "T", "-p", "x", "-m", "perhaps"], "true or false"),
            (["consumeMessage", "-t", "T", "-i", "1"], "--brokerName"),
            (["consumeMessage", "-t", "T", "-b", "b", "-o", "1"], "--queueId"),
            (["consumeMessage", "-t", "T", "-s", "yesterday"], "yyyy-MM-dd#HH:mm:ss:SSS"),
            (["queryMsgById", "-i", "A", "-g", "G"], "go together"),
            (["updateOrderConf", "-t", "T", "-m", "put"], "--orderConf"),
            (["updateOrderConf", "-t", "T", "-m", "put", "-v", "broker-a"], "BROKER:COUNT"),
            (["topicList", "-n", "localhost"], "HOST:PORT"),
            (["printMsg", "-t", "T", "-c", "GBK"], "UTF-8"),
            (["clusterRT", "-a", "0"], "from 1 to 1000000"),
            (["checkMsgSendRT"], "--topic is missing"),
            (["sendMsgStatus", "-b", "b", "-s", "9999999"], "from 1 to 4194304"),
            (["startMonitoring", "-i", "0"], "from 1 to 86400"),
            (["exportMetadata", "-f", "/tmp"], "--clusterName, --brokerAddr"),
            (["exportMetadata", "-b", "b", "-t", "-g"], "only one of --topic and --subscriptionGroup"),
            (["exportMetrics"], "--clusterName is missing"),
            (["updateTopicList", "-b", "b"], "--filename is missing"),
            (["resetOffsetByTime", "-t", "T", "-g", "G"], "--timestamp is missing, or --offset"),
            (["resetOffsetByTime", "-t", "T", "-g", "G", "-o", "5"], "--broker and --queue"),
            (["resetOffsetByTime", "-t", "T", "-g", "G", "-s", "now", "-q", "1"], "--queue needs --broker"),
            (["resetOffsetByTime", "-t", "T", "-g", "G", "-b", "b", "-q", "1", "-o", "-3"], "a number from 0"),
            (["topicLst"], "did you mean topicList?"),
            (["topicStatus", "--topci", "T"], "did you mean --topic?"),
        ])
    func refused(words: [String], said: String) async throws {
        let terminal = Terminal()
        #expect(await terminal.run(words, nameServers: "127.0.0.1:1") == 2)
        #expect(terminal.errors.contains(said), "\(terminal.errors)")
        #expect(terminal.output.isEmpty)
    }

    @Test("Help lists all commands, also those of one command, whatever the case of its name")
    func help() async throws {
        let terminal = Terminal()
        #expect(await terminal.run([]) == 0)
        for name in Self.reference.keys { #expect(terminal.output.contains("\n  \(name) "), "\(name)") }
        let one = Terminal()
        #expect(await one.run(["help", "updatetopic"]) == 0)
        let other = Terminal()
        #expect(await other.run(["updateTopic", "-h"]) == 0)
        #expect(one.output == other.output && one.output.contains("-w, --writeQueueNums COUNT"))
        #expect(await terminal.run(["--version"]) == 0)
        #expect(terminal.output.hasSuffix("mqadmin \(ProductVersion.text)\n"))
    }

    @Test("Without a name server the way to name one is told")
    func noNameServer() async {
        let terminal = Terminal()
        #expect(await terminal.run(["topicList"]) == 2)
        #expect(terminal.errors.contains("-n HOST:PORT") && terminal.errors.contains("NAMESRV_ADDR"))
    }
}
