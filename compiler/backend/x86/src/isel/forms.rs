//! The opcodes of each vector operation at both levels, side by side. `v3` works on ymm with VEX, `v4`
//! on zmm with EVEX (where element masks and broadcast operands exist).

use iced_x86::Code;

/// One operation at both levels.
#[derive(Copy, Clone)]
pub(super) struct Form {
    pub v3: Code,
    pub v4: Code,
}

macro_rules! forms {
    ($($name:ident $v3:ident $v4:ident;)*) => {
        $(pub(super) const $name: Form = Form { v3: Code::$v3, v4: Code::$v4 };)*
    };
}

// f32
forms! {
    ADD_F VEX_Vaddps_ymm_ymm_ymmm256 EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er;
    SUB_F VEX_Vsubps_ymm_ymm_ymmm256 EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er;
    MUL_F VEX_Vmulps_ymm_ymm_ymmm256 EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er;
    DIV_F VEX_Vdivps_ymm_ymm_ymmm256 EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er;
    MIN_F VEX_Vminps_ymm_ymm_ymmm256 EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae;
    MAX_F VEX_Vmaxps_ymm_ymm_ymmm256 EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae;
    SQRT_F VEX_Vsqrtps_ymm_ymmm256 EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er;
    ROUND_F VEX_Vroundps_ymm_ymmm256_imm8 EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae;
    FMA231 VEX_Vfmadd231ps_ymm_ymm_ymmm256 EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er;
    FMA213 VEX_Vfmadd213ps_ymm_ymm_ymmm256 EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er;
    CMP_F VEX_Vcmpps_ymm_ymm_ymmm256_imm8 EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
}

// i32
forms! {
    ADD_I VEX_Vpaddd_ymm_ymm_ymmm256 EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32;
    SUB_I VEX_Vpsubd_ymm_ymm_ymmm256 EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32;
    MUL_I VEX_Vpmulld_ymm_ymm_ymmm256 EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32;
    MIN_S VEX_Vpminsd_ymm_ymm_ymmm256 EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32;
    MAX_S VEX_Vpmaxsd_ymm_ymm_ymmm256 EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32;
    MIN_U VEX_Vpminud_ymm_ymm_ymmm256 EVEX_Vpminud_zmm_k1z_zmm_zmmm512b32;
    MAX_U VEX_Vpmaxud_ymm_ymm_ymmm256 EVEX_Vpmaxud_zmm_k1z_zmm_zmmm512b32;
    AND VEX_Vpand_ymm_ymm_ymmm256 EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32;
    OR VEX_Vpor_ymm_ymm_ymmm256 EVEX_Vpord_zmm_k1z_zmm_zmmm512b32;
    XOR VEX_Vpxor_ymm_ymm_ymmm256 EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32;
    ANDN VEX_Vpandn_ymm_ymm_ymmm256 EVEX_Vpandnd_zmm_k1z_zmm_zmmm512b32;
    SHL_V VEX_Vpsllvd_ymm_ymm_ymmm256 EVEX_Vpsllvd_zmm_k1z_zmm_zmmm512b32;
    SHR_S_V VEX_Vpsravd_ymm_ymm_ymmm256 EVEX_Vpsravd_zmm_k1z_zmm_zmmm512b32;
    SHR_U_V VEX_Vpsrlvd_ymm_ymm_ymmm256 EVEX_Vpsrlvd_zmm_k1z_zmm_zmmm512b32;
    SHL_C VEX_Vpslld_ymm_ymm_imm8 EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8;
    SHR_S_C VEX_Vpsrad_ymm_ymm_imm8 EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8;
    SHR_U_C VEX_Vpsrld_ymm_ymm_imm8 EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8;
}

// bytes, words and quadwords
forms! {
    ADD_B VEX_Vpaddb_ymm_ymm_ymmm256 EVEX_Vpaddb_zmm_k1z_zmm_zmmm512;
    SUB_B VEX_Vpsubb_ymm_ymm_ymmm256 EVEX_Vpsubb_zmm_k1z_zmm_zmmm512;
    ADD_SATURATED_B VEX_Vpaddusb_ymm_ymm_ymmm256 EVEX_Vpaddusb_zmm_k1z_zmm_zmmm512;
    SHUFFLE_B VEX_Vpshufb_ymm_ymm_ymmm256 EVEX_Vpshufb_zmm_k1z_zmm_zmmm512;
    MADD_UB VEX_Vpmaddubsw_ymm_ymm_ymmm256 EVEX_Vpmaddubsw_zmm_k1z_zmm_zmmm512;
    MADD_W VEX_Vpmaddwd_ymm_ymm_ymmm256 EVEX_Vpmaddwd_zmm_k1z_zmm_zmmm512;
    SHR_S_W VEX_Vpsraw_ymm_ymm_imm8 EVEX_Vpsraw_zmm_k1z_zmmm512_imm8;
    SHR_U_W VEX_Vpsrlw_ymm_ymm_imm8 EVEX_Vpsrlw_zmm_k1z_zmmm512_imm8;
    SHL_W VEX_Vpsllw_ymm_ymm_imm8 EVEX_Vpsllw_zmm_k1z_zmmm512_imm8;
    DOT_US VEX_Vpdpbusd_ymm_ymm_ymmm256 EVEX_Vpdpbusd_zmm_k1z_zmm_zmmm512b32;
    AFFINE VEX_Vgf2p8affineqb_ymm_ymm_ymmm256_imm8 EVEX_Vgf2p8affineqb_zmm_k1z_zmm_zmmm512b64_imm8;
}

// f64, for exact integer division; sources or results are half as wide in registers
forms! {
    ADD_D VEX_Vaddpd_ymm_ymm_ymmm256 EVEX_Vaddpd_zmm_k1z_zmm_zmmm512b64_er;
    DIV_D VEX_Vdivpd_ymm_ymm_ymmm256 EVEX_Vdivpd_zmm_k1z_zmm_zmmm512b64_er;
    I32_TO_D VEX_Vcvtdq2pd_ymm_xmmm128 EVEX_Vcvtdq2pd_zmm_k1z_ymmm256b32_er;
    D_TO_I32 VEX_Vcvttpd2dq_xmm_ymmm256 EVEX_Vcvttpd2dq_ymm_k1z_zmmm512b64_sae;
}

// conversions and moves
forms! {
    I32_TO_F VEX_Vcvtdq2ps_ymm_ymmm256 EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er;
    F_TO_I32 VEX_Vcvttps2dq_ymm_ymmm256 EVEX_Vcvttps2dq_zmm_k1z_zmmm512b32_sae;
    HALF_TO_F VEX_Vcvtph2ps_ymm_xmmm128 EVEX_Vcvtph2ps_zmm_k1z_ymmm256_sae;
    F_TO_HALF VEX_Vcvtps2ph_xmmm128_ymm_imm8 EVEX_Vcvtps2ph_ymmm256_k1z_zmm_imm8_sae;
    ZX_B VEX_Vpmovzxbd_ymm_xmmm64 EVEX_Vpmovzxbd_zmm_k1z_xmmm128;
    SX_B VEX_Vpmovsxbd_ymm_xmmm64 EVEX_Vpmovsxbd_zmm_k1z_xmmm128;
    ZX_W VEX_Vpmovzxwd_ymm_xmmm128 EVEX_Vpmovzxwd_zmm_k1z_ymmm256;
    SX_W VEX_Vpmovsxwd_ymm_xmmm128 EVEX_Vpmovsxwd_zmm_k1z_ymmm256;
    LOAD VEX_Vmovups_ymm_ymmm256 EVEX_Vmovups_zmm_k1z_zmmm512;
    STORE VEX_Vmovups_ymmm256_ymm EVEX_Vmovups_zmmm512_k1z_zmm;
    BROADCAST VEX_Vpbroadcastd_ymm_xmmm32 EVEX_Vpbroadcastd_zmm_k1z_xmmm32;
    PERMUTE VEX_Vpermd_ymm_ymm_ymmm256 EVEX_Vpermd_zmm_k1z_zmm_zmmm512b32;
    HIGH_HALF VEX_Vextracti128_xmmm128_ymm_imm8 EVEX_Vextracti64x4_ymmm256_k1z_zmm_imm8;
    JOIN_HALVES VEX_Vinserti128_ymm_ymm_xmmm128_imm8 EVEX_Vinserti64x4_zmm_k1z_zmm_ymmm256_imm8;
    GATHER VEX_Vgatherdps_ymm_vm32y_ymm EVEX_Vgatherdps_zmm_k1_vm32z;
}

// scalars in vector registers: VEX reaches 16 registers, EVEX 32
forms! {
    ADD_S VEX_Vaddss_xmm_xmm_xmmm32 EVEX_Vaddss_xmm_k1z_xmm_xmmm32_er;
    SUB_S VEX_Vsubss_xmm_xmm_xmmm32 EVEX_Vsubss_xmm_k1z_xmm_xmmm32_er;
    MUL_S VEX_Vmulss_xmm_xmm_xmmm32 EVEX_Vmulss_xmm_k1z_xmm_xmmm32_er;
    DIV_S VEX_Vdivss_xmm_xmm_xmmm32 EVEX_Vdivss_xmm_k1z_xmm_xmmm32_er;
    MIN_SS VEX_Vminss_xmm_xmm_xmmm32 EVEX_Vminss_xmm_k1z_xmm_xmmm32_sae;
    MAX_SS VEX_Vmaxss_xmm_xmm_xmmm32 EVEX_Vmaxss_xmm_k1z_xmm_xmmm32_sae;
    SQRT_S VEX_Vsqrtss_xmm_xmm_xmmm32 EVEX_Vsqrtss_xmm_k1z_xmm_xmmm32_er;
    ROUND_S VEX_Vroundss_xmm_xmm_xmmm32_imm8 EVEX_Vrndscaless_xmm_k1z_xmm_xmmm32_imm8_sae;
    FMA231_S VEX_Vfmadd231ss_xmm_xmm_xmmm32 EVEX_Vfmadd231ss_xmm_k1z_xmm_xmmm32_er;
    CMP_S VEX_Vcmpss_xmm_xmm_xmmm32_imm8 EVEX_Vcmpss_kr_k1_xmm_xmmm32_imm8_sae;
    UCOMI VEX_Vucomiss_xmm_xmmm32 EVEX_Vucomiss_xmm_xmmm32_sae;
    LOAD_S VEX_Vmovss_xmm_m32 EVEX_Vmovss_xmm_k1z_m32;
    STORE_S VEX_Vmovss_m32_xmm EVEX_Vmovss_m32_k1_xmm;
    FROM_GPR VEX_Vmovd_xmm_rm32 EVEX_Vmovd_xmm_rm32;
    TO_GPR VEX_Vmovd_rm32_xmm EVEX_Vmovd_rm32_xmm;
    XOR_X VEX_Vpxor_xmm_xmm_xmmm128 EVEX_Vpxord_xmm_k1z_xmm_xmmm128b32;
    AND_X VEX_Vpand_xmm_xmm_xmmm128 EVEX_Vpandd_xmm_k1z_xmm_xmmm128b32;
    HALF_TO_F_X VEX_Vcvtph2ps_xmm_xmmm64 EVEX_Vcvtph2ps_xmm_k1z_xmmm64;
    F_TO_HALF_X VEX_Vcvtps2ph_xmmm64_xmm_imm8 EVEX_Vcvtps2ph_xmmm64_k1z_xmm_imm8;
    I32_TO_F_X VEX_Vcvtdq2ps_xmm_xmmm128 EVEX_Vcvtdq2ps_xmm_k1z_xmmm128b32;
}
