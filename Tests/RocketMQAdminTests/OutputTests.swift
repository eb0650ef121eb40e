import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQAdmin

/// What people and programs are shown.
struct OutputTests {
    @Test("topicStatus: a line a queue, in order, aligned")
    func topicStatus() {
        let table = TopicStatusCommand.table(
            [
                MessageQueue(topic: "T", brokerName: "broker-b", queueID: 0): TopicOffset(
                    minOffset: 0, maxOffset: 0, lastUpdateTimestamp: 0),
                MessageQueue(topic: "T", brokerName: "broker-a", queueID: 10): TopicOffset(
                    minOffset: 7, maxOffset: 1_234_567_890_123, lastUpdateTimestamp: 1_763_715_662_345),
                MessageQueue(topic: "T", brokerName: "broker-a", queueID: 2): TopicOffset(
                    minOffset: 0, maxOffset: 5, lastUpdateTimestamp: 1_763_715_662_000),
            ], .utc)
        #expect(
            table.text == """
                #Broker Name  #QID  #Min Offset  #Max Offset    #Last Updated
                broker-a      2     0            5              2025-11-21 09:01:02,000
                broker-a      10    7            1234567890123  2025-11-21 09:01:02,345
                broker-b      0     0            0

                """)
        #expect(
            "\(table.json)".hasPrefix(
                #"[{"brokerName":"broker-a","queueId":2,"minOffset":0,"maxOffset":5,"lastUpdateTimestamp":1763715662000},"#))
    }

    @Test("clusterList: load of each broker, and - for one that does not answer")
    func clusterList() {
        let info = [
            "putTps": "12.345 1 1", "getTransferedTps": "0.5 0 0", "brokerVersionDesc": "V4_9_8", "sendThreadPoolQueueSize": "3",
            "sendThreadPoolQueueHeadWaitTimeMills": "4", "pageCacheLockTimeMills": "0", "earliestMessageTimeStamp": "3600000",
            "commitLogDiskRatio": "0.25", "msgPutTotalTodayNow": "30", "msgPutTotalTodayMorning": "20", "msgPutTotalYesterdayMorning": "5",
        ]
        let entries = [
            ClusterListCommand.Entry(cluster: "C", brokerName: "broker-a", id: 0, address: "10.0.0.1:10911", info: info),
            ClusterListCommand.Entry(cluster: "C", brokerName: "broker-a", id: 1, address: "10.0.0.2:10911", info: nil),
        ]
        #expect(
            ClusterListCommand.load(entries, nowMilliseconds: 9_000_000).text == """
                #Cluster Name  #Broker Name  #BID  #Addr           #Version  #InTPS(LOAD)  #OutTPS(LOAD)  #PCWait(ms)  #Hour  #SPACE
                C              broker-a      0     10.0.0.1:10911  V4_9_8    12.34(3,4ms)    0.50(0,0ms)            0   1.50  0.2500
                C              broker-a      1     10.0.0.2:10911  -                    -              -            -      -       -

                """)
        #expect(
            ClusterListCommand.totals(entries).text == """
                #Cluster Name  #Broker Name  #InTotalYest  #OutTotalYest  #InTotalToday  #OutTotalToday
                C              broker-a                15              0             10               0
                C              broker-a                 -              -              -               -

                """)
    }

    @Test("consumerProgress: how far behind each queue is, and who has it")
    func consumerProgress() {
        let queue = MessageQueue(topic: "T", brokerName: "broker-a", queueID: 0)
        let other = MessageQueue(topic: "T", brokerName: "broker-a", queueID: 1)
        let statistics = ConsumeStats(
            offsetTable: [
                queue: OffsetWrapper(brokerOffset: 10, consumerOffset: 7, lastTimestamp: 1_763_715_662_345),
                other: OffsetWrapper(brokerOffset: 5, consumerOffset: 5, lastTimestamp: 0),
            ])
        #expect(
            ConsumerProgressCommand.table(statistics, [queue: "10.0.0.9"], .utc).text == """
                #Topic  #Broker Name  #QID  #Broker Offset  #Consumer Offset  #Client IP  #Diff  #LastTime
                T       broker-a      0     10              7                 10.0.0.9    3      2025-11-21 09:01:02,345
                T       broker-a      1     5               5                 N/A         0      N/A

                """)
    }

    @Test("topicRoute -l: sums below, a broker without queues among them")
    func routeList() {
        let route = TopicRouteData(
            queueDatas: [QueueData(brokerName: "broker-a", readQueueNums: 8, writeQueueNums: 4, perm: .readWrite)],
            brokerDatas: [
                BrokerData(cluster: "C", brokerName: "broker-a", brokerAddrs: [0: "10.0.0.1:10911", 1: "10.0.0.2:10911"]),
                BrokerData(cluster: "C", brokerName: "broker-b", brokerAddrs: [0: "10.0.0.3:10911"]),
            ])
        #expect(
            TopicRouteCommand.list(route) == """
                #ClusterName  #BrokerName  #BrokerAddrs                          #ReadQueue  #WriteQueue  #Perm
                C             broker-a     {0=10.0.0.1:10911, 1=10.0.0.2:10911}  8           4            6
                C             broker-b     {0=10.0.0.3:10911}                    0           0            0
                Total:        2                                                  8           4

                """)
    }

    private func message(body: [UInt8]) -> MessageExt {
        MessageExt(
            topic: "T", properties: ["TAGS": "paid", "KEYS": "k1 k2", "UNIQ_KEY": "0A000001000100000000000000000000"], body: body,
            bodyCRC: 0,
            storeSize: 200,
            fields: MessageRecordFields(
                queueID: 1, flag: 0, queueOffset: 2, physicalOffset: 300, systemFlag: [], bornTimestamp: 1_763_715_662_345,
                bornHost: .loopback(port: 4000), storeTimestamp: 1_763_715_662_346, storeHost: .loopback(port: 10911), reconsumeTimes: 0,
                preparedTransactionOffset: 0))
    }

    @Test("A message as a listing, with the groups that consume it")
    func messageListing() {
        let report = MessageReport(
            message: message(body: Array("two\nlines\u{1B}[2J".utf8)),
            tracks: [MessageTrack(group: "G", type: .consumed), MessageTrack(group: "H", type: .notOnline)])
        #expect(
            report.text(.utc) == """
                OffsetID:            7F00000100002A9F000000000000012C
                MessageID:           0A000001000100000000000000000000
                Topic:               T
                Tags:                [paid]
                Keys:                [k1 k2]
                Queue ID:            1
                Queue Offset:        2
                CommitLog Offset:    300
                Reconsume Times:     0
                Born Timestamp:      2025-11-21 09:01:02,345
                Store Timestamp:     2025-11-21 09:01:02,346
                Born Host:           127.0.0.1:4000
                Store Host:          127.0.0.1:10911
                System Flag:         0
                Properties:          {TAGS=paid, KEYS=k1 k2, UNIQ_KEY=0A000001000100000000000000000000}
                Message Body:        two
                lines\\u{1b}[2J

                #Consumer Group  #Track Type  #Reason
                G                CONSUMED
                H                NOT_ONLINE

                """)
        #expect(MessageReport(message: message(body: []), tracks: []).text(.utc).hasSuffix("\nWARN: No Consumer\n"))
    }

    @Test("Bodies that are no text are told by their size, and to programs in Base64")
    func binaryBody() {
        let message = message(body: [0xFF, 0x00, 0xFE, 0x01])
        #expect(MessageReport.line(message).hasSuffix("BODY: 4 bytes that are no text"))
        #expect(MessageReport.json(message)["bodyBase64"] == "/wD+AQ==")
        #expect(MessageReport.json(message)["body"] == nil)
        #expect(MessageReport.line(message, printsBody: false).hasSuffix("BODY: NOT PRINT BODY"))
        #expect(["", "f", "fo", "foo", "foob"].map { Base64.text(Array($0.utf8)) } == ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="])
    }

    @Test(
        "Numbers with a fixed count of digits",
        arguments: [
            (0.0, 2, "0.00"), (12.346, 2, "12.35"), (12.344, 2, "12.34"), (0.999, 2, "1.00"), (-0.001, 2, "0.00"), (-1.5, 1, "-1.5"),
            (0.6993, 4, "0.6993"), (7.6, 0, "8"), (.infinity, 2, "inf"),
        ])
    func decimals(value: Double, digits: Int, text: String) {
        #expect(NumberText.decimal(value, digits: digits) == text)
    }

    @Test(
        "Names of releases",
        arguments: [(409, "V4_9_8"), (408, "V4_9_8_SNAPSHOT"), (213, "V4_0_0"), (479, "V5_3_3"), (612, "HIGHER_VERSION")])
    func versions(version: Int32, name: String) {
        #expect(VersionName.text(version) == name)
    }
}
