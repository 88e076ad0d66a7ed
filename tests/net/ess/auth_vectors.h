// Recorded by tests/spark/AuthVectors.java with Java 17.0.15 and Spark 3.5.7's jars; do not edit.
#pragma once

#include <array>
#include <string_view>

namespace shufflefs::net::ess::vectors {

inline constexpr std::string_view kApp = "app-20261121000000-0001";
inline constexpr std::string_view kSecret = "a cluster secret";
inline constexpr std::array<std::string_view, 2> kPlain = {
    "0000000000000015030000000000000001000000", "00aa"};

// Tokens as text.
struct Digest {
  std::string_view challenge, response, rspauth;
};
// Of a client that does not want encryption, and one that does.
inline constexpr std::array<Digest, 2> kDigests = {{
    {R"(realm="default",nonce="5ETzCuQ4AJqNMDh+FVrOFAtsWRk3to1pe6v09OZn",qop="auth-conf,auth",charset=utf-8,cipher="3des,rc4,des,rc4-56,rc4-40",algorithm=md5-sess)",
     R"(charset=utf-8,username="c3BhcmtTYXNsVXNlcg==",realm="default",nonce="5ETzCuQ4AJqNMDh+FVrOFAtsWRk3to1pe6v09OZn",nc=00000001,cnonce="CLpLLzXk3S7MK2hIfOoLIq/q2DuCeLgZVpR2rWqN",digest-uri="null/default",maxbuf=65536,response=ff459f2c4b4d9c04736ac52e26447b07,qop=auth)",
     "rspauth=51a71ec4c39d298f37448d511ecf0597"},
    {R"(realm="default",nonce="XMp+2F+mC79NNDqIQVtsoHxn71tcrfOFrDr/7Ds3",qop="auth-conf,auth",charset=utf-8,cipher="3des,rc4,des,rc4-56,rc4-40",algorithm=md5-sess)",
     R"(charset=utf-8,username="c3BhcmtTYXNsVXNlcg==",realm="default",nonce="XMp+2F+mC79NNDqIQVtsoHxn71tcrfOFrDr/7Ds3",nc=00000001,cnonce="JBmXQvTzFJ4siscfTBUtJoeGhBPaPVnWSH9iVs0v",digest-uri="null/default",maxbuf=65536,response=8ec9f6cfe60bd84639eee8d90b224b2d,qop=auth-conf,cipher="3des")",
     "rspauth=20477240046809970fd58593515736b2"},
}};

// All in hex. Sealed bytes are whole streams of one direction: kPlain[0], kPlain[1].
struct Engine {
  std::string_view cipher;
  int version;
  std::string_view client_private, client_message;
  std::string_view server_private, server_salt, server_nonce, server_message;
  std::string_view from_client, from_server;  // the latter empty where it is random
};
inline constexpr std::array<Engine, 4> kEngines = {{
    {"AES/CTR/NoPadding", 1, "cf155b60a260d0b062447d0186ee23c1649637f816f050841ed9d906999972a1",
     "fb000000176170702d32303236313132313030303030302d30303031000000102cc1178086fa0dffc70f620204c1c"
     "4fa0000003cae677ab37dcc3ddea51a964995793b24af83cf2359d11af0c729b613b49daae19bc9fe225cc7a06a43"
     "a9b50e656ed7ece66d67274bb50c86c25a16d7",
     "6f13cd54518b264a0036f347281f3fad093f23a0bf66fcceb11ddf46be3bacb4",
     "404142434445464748494a4b4c4d4e4f", "707172737475767778797a7b",
     "fb000000176170702d32303236313132313030303030302d3030303100000010404142434445464748494a4b4c4d4"
     "e4f0000003c707172737475767778797a7b3e42860aa52d330e043b8c5ce2c9454d5f2c74f59c68477a78ccf15931"
     "46331ab364912f12dc907aeb765e5f1c67efb3",
     "867ed2957e98e2237715487b7d8c3e80b684469865b6",
     "0df74fe98da845e91fea02c28300e986588eb4d19500"},
    {"AES/CTR/NoPadding", 2, "8facd780e1822aea14aa9497508ffefb9040f7b75e1e85c9d8f68ac20a52308a",
     "fb000000176170702d32303236313132313030303030302d3030303100000010d56e861926375d902be07c1fd7b81"
     "2c50000003cfadc99bf78e6c40c022777823f0e49256211e94461f494ad3223071602185c1ef7bf6b4b99b8e484af"
     "b6ee54c62533c7fdcb164b1bacaa61a8ae783c",
     "ff74526123a9e32677ab29df8c1d9d9d9cf13ae8130388bfbaac6af43f35568a",
     "404142434445464748494a4b4c4d4e4f", "707172737475767778797a7b",
     "fb000000176170702d32303236313132313030303030302d3030303100000010404142434445464748494a4b4c4d4"
     "e4f0000003c707172737475767778797a7b910a9cfac70076a4deaa1adb5ac5200e4aac359fc5b05b8dc0d70138f4"
     "bd03d2541a6e6e2138c55163b08f03752c4b71",
     "c9d4ac7f99d6d7b16d3883a4d946a7be875918bf4ae9",
     "9e33280e509a9fa321bc11c77d27c89d5bc53d0ea4ea"},
    {"AES/GCM/NoPadding", 1, "3f20dc58d8625bd486b8fef7f13e57fced7eff93e9c02e2e423c5cf8ab1e7182",
     "fb000000176170702d32303236313132313030303030302d3030303100000010a71185cdcc2e0910b68b7a287698d"
     "8ee0000003c42d3d3ba1d115f006362a5aff6fecba5dc5401395ddc024bde8d77fbf312669b40a17bb79d6c8d126d"
     "39be225b455f4ee9fce95ef59c1a79b3860431",
     "bfa4aecf97e8a8079ef0001474f999fe6671ce8c9e4cffcc2579717b9ac5388d",
     "404142434445464748494a4b4c4d4e4f", "707172737475767778797a7b",
     "fb000000176170702d32303236313132313030303030302d3030303100000010404142434445464748494a4b4c4d4"
     "e4f0000003c707172737475767778797a7bf4da8178d01d381ace71438a0445f9fb99ab5d8a2f13f7063d482c841b"
     "d492216556e6f0d6cf010977be5a36dbe7cf12",
     "000000000000005428c629774f47b140d5c3a9414bd9cb6efb3272af8b0ab0be24cb1760447023fffb5638de13708"
     "c66c2457c2e772518c396dff55a1e57f2c7aff86ab5cf9fb0640edbb196a9a25362b6910011000000000000004228"
     "66399b10ab701e3b23411a31168a406734d472e531015f74c2dd3a6e7b7a261d31563ae2115c0944867aee312effb"
     "27fba57ff013f68db1be0",
     ""},
    {"AES/GCM/NoPadding", 2, "a78d2de34e07b6f25cfdcfb364fd9dffdf488bf391077c5673addfa71e3e448a",
     "fb000000176170702d32303236313132313030303030302d3030303100000010ab9ed821296225c6c7570dac59969"
     "8f60000003c2668625b9e39e24603a9359638e84ca377d345dbd9a9c56271bf9e7aa11d886161f937d123a238bc8a"
     "2096c47e42b194e96f09a77af5da2980e337f2",
     "f755b21d9f750f0f1a3ac848e8c49ff8f7feca877f234db2351f0485df6e02b9",
     "404142434445464748494a4b4c4d4e4f", "707172737475767778797a7b",
     "fb000000176170702d32303236313132313030303030302d3030303100000010404142434445464748494a4b4c4d4"
     "e4f0000003c707172737475767778797a7b21532efabb955d04846f59752198f1f422431a3cc6393fa97b8ceb5484"
     "5c2421c923236bb8e8658eaf9be2017a37044f",
     "000000000000004418c63bc00f8b908ee23e7a8ef6a5137b42bab8c7085e9fbabde7ff77755d1e78601504cde82a1"
     "dbae1546d21f01832944385d4d3ae8c08407d8625350000000000000032185e0cd2b6a4b38cc6c2e2d9125a59d7f3"
     "bac592f678f695274673e978db6ba035010c4750d37ba8a252",
     ""},
}};

}  // namespace shufflefs::net::ess::vectors
