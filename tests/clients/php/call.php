<?php
// Calls one operation by PHP's SoapClient: php call.php WSDL-URL KEY 1.1|1.2 OPERATION FIELDS-AS-JSON
// Prints {"result": …} or {"fault": …}. The key goes into the header with the WSDL and with the call.
[, $url, $key, $version, $operation, $fields] = $argv;
$header = stream_context_create(["http" => ["header" => "X-Service-Key: $key"]]);
try {
    $client = new SoapClient($url, [
        "soap_version" => $version === "1.2" ? SOAP_1_2 : SOAP_1_1,
        "cache_wsdl" => WSDL_CACHE_NONE,
        "stream_context" => $header,
        "exceptions" => true,
        "trace" => true,
        "connection_timeout" => 5,
    ]);
    if ($operation === "?") {
        echo json_encode(["operations" => $client->__getFunctions()]), "\n";
        exit(0);
    }
    $result = $client->__soapCall($operation, [json_decode($fields, true)]);
    $envelope = str_contains($client->__getLastResponse(), "schemas.xmlsoap.org/soap/envelope") ? "1.1" : "1.2";
    echo json_encode(["result" => $result, "envelope" => $envelope]), "\n";
} catch (SoapFault $fault) {
    echo json_encode(["fault" => $fault->faultcode, "words" => $fault->getMessage()]), "\n";
    exit(1);
}
